"""Where the Lambda API is that plays a CustomAgentLambdaConfig: an emulator on this machine, or AWS.

A request to this machine is not signed with the credentials of whoever is logged in: unless the
environment names some for it, they are dummies.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

DUMMY_CREDENTIALS = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
_REGION = re.compile(r"arn:[a-z-]+:lambda:([a-z0-9-]+):")


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaTarget:
    """Which function is invoked, and where."""

    function: str = ""
    """A name or an ARN; empty: the LambdaArn of the job."""
    endpoint: str = ""
    """URL of the Lambda API; empty: what boto3 finds, AWS_ENDPOINT_URL_LAMBDA or the Region's own."""

    @property
    def local(self) -> bool:
        """Is the API on this machine?"""
        return is_loopback(self.endpoint or configured_endpoint() or "")

    def client(self, lambda_arn: str, config: Config) -> Any:
        """A boto3 client.

        Args:
            lambda_arn: the job's; a bare function name says no Region, what it stands for does.
            config: timeouts, retries and connections.

        Raises:
            BotoCoreError: no Region is known, or the profile of AWS_PROFILE is not.
        """
        region = _REGION.match(self.function) or _REGION.match(lambda_arn)
        named = os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE")
        return boto3.session.Session().client(
            "lambda",
            endpoint_url=self.endpoint or None,
            region_name=region.group(1) if region else None,
            config=config,
            **(DUMMY_CREDENTIALS if self.local and not named else {}),
        )


def configured_endpoint() -> str | None:
    """The endpoint that the environment gives boto3 for Lambda."""
    return os.environ.get("AWS_ENDPOINT_URL_LAMBDA") or os.environ.get("AWS_ENDPOINT_URL")


def is_loopback(url: str) -> bool:
    """Does the URL name this machine alone?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

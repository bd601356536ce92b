"""The emulator of AWS, on a loopback port of its own: ministack, in an environment of its own."""

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from mtrl.deploying.processes import background
from mtrl.rehearsing.processes import child_environ, free_port

ACCOUNT = "000000000000"
"""The account that the emulator is, for any access key that is no account number."""
REGION = "us-west-2"
HEALTH = "/_ministack/health"

UNKNOWN_TYPES = frozenset(
    {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::BedrockAgentCore::Runtime",
        "AWS::BedrockAgentCore::RuntimeEndpoint",
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::EIP",
        "AWS::EC2::NatGateway",
        "AWS::EC2::VPCCidrBlock",
        "AWS::SageMaker::MlflowApp",
        "AWS::SageMaker::ModelPackageGroup",
    }
)
"""What the emulator (1.5.33) cannot create: a stack with one of them is not deployed."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator."""

    url: str
    group: int
    """Its process group, which holds the Lambda processes too."""

    def environ(self) -> dict[str, str]:
        """The variables of a process for which the emulator is AWS, and no real credentials are in sight."""
        return child_environ({**self.credentials(), "AWS_ENDPOINT_URL": self.url})

    def credentials(self) -> dict[str, str]:
        """The port is in them: tools remember the account of an access key, and emulators come and go."""
        return {"AWS_ACCESS_KEY_ID": f"EMULATOR{self.url.rsplit(':', 1)[1]}", "AWS_SECRET_ACCESS_KEY": "none"}

    def client(self, service: str) -> Any:
        """A boto3 client of it."""
        keys = self.credentials()
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def emulator(program: Path, out: Path, log: Path, *, keep: bool) -> Iterator[Emulator]:
    """Run the emulator until the context is left, or beyond it if it is to be kept.

    Raises:
        ProcessError: it did not start.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # Unless told otherwise it listens on every interface, and leaves a folder behind for each Lambda process.
    folder = out / f"emulator-{port}"
    folder.mkdir()
    environ = {**kept, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "TMPDIR": str(folder)}
    running = background(
        "emulator",
        [str(program)],
        cwd=folder,
        environ=environ,
        log=log,
        ready=lambda: _answers(url),
        keep=keep,
    )
    try:
        with running as process:
            yield Emulator(url, process.pid)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}{HEALTH}", timeout=5) as answer:  # noqa: S310 - a loopback URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False

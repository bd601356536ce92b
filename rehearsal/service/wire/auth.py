"""Authentication as the stand-in checks it: present, well formed, not expired.

It holds no secrets, so it cannot verify a signature; that is in the parity table.
"""

import base64
import binascii
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from adapters.contract.headers import BEARER_PREFIX

MAX_LIFETIME_SECONDS = 43200
CLOCK_SKEW_SECONDS = 300

_SIGV4 = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/\s]+/\d{8}/(?P<region>[^/\s]+)/sagemaker/aws4_request, ?"
    r"SignedHeaders=[^,\s]+, ?Signature=[0-9a-f]{64}"
)


def refusal(authorization: str | None, region: str, now: float | None = None) -> str | None:
    """Why a Job Runtime request is refused, or None if its Authorization header will do."""
    if not authorization:
        return "Missing Authentication Token"
    if authorization.startswith("Bearer "):
        return _bearer_refusal(
            authorization.removeprefix("Bearer "), region, time.time() if now is None else now
        )
    match = _SIGV4.fullmatch(authorization)
    if match is None:
        return "The Authorization header is neither SigV4 for service sagemaker nor a bearer token"
    return None if match["region"] == region else f"Credential should be scoped to region {region}"


def _bearer_refusal(token: str, region: str, now: float) -> str | None:
    if not token.startswith(BEARER_PREFIX):
        return f"The bearer token does not start with {BEARER_PREFIX}"
    claims = _claims(token)
    if claims is None:
        return "The bearer token is no presigned URL"
    if claims.action != "CallWithBearerToken" or claims.service != "sagemaker":
        return "The bearer token was not made for CallWithBearerToken"
    if claims.region != region:
        return f"The bearer token is scoped to {claims.region}, not to {region}"
    in_time = claims.signed - CLOCK_SKEW_SECONDS <= now <= claims.signed + claims.lifetime
    if not in_time or not 0 < claims.lifetime <= MAX_LIFETIME_SECONDS:
        return "The security token included in the request is expired"
    return None


class _Claims(NamedTuple):
    """What a bearer token says of itself; times in Unix seconds and seconds."""

    action: str
    service: str
    region: str
    signed: float
    lifetime: int


@lru_cache(maxsize=64)  # an adapter sends the same token for minutes
def _claims(token: str) -> _Claims | None:
    try:
        presigned = base64.b64decode(token.removeprefix(BEARER_PREFIX), validate=True).decode("ascii")
        query = parse_qs(urlsplit(f"https://{presigned}").query)
        signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        _, _, region, service, _ = query["X-Amz-Credential"][0].split("/")
        lifetime = int(query["X-Amz-Expires"][0])
        return _Claims(query["Action"][0], service, region, signed.timestamp(), lifetime)
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError, IndexError):
        return None

"""Authentication as the stand-in checks it: present, well formed, not expired.

It holds no secrets, so it cannot verify a signature; that is in the parity table.
"""

import base64
import binascii
import re
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from adapters.contract.headers import BEARER_PREFIX

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
    try:
        presigned = base64.b64decode(token.removeprefix(BEARER_PREFIX), validate=True).decode("ascii")
        query = parse_qs(urlsplit(f"https://{presigned}").query)
        signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        lifetime = int(query["X-Amz-Expires"][0])
        scope = query["X-Amz-Credential"][0].split("/")
        action = query["Action"][0]
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError, IndexError):
        return "The bearer token is no presigned URL"
    if action != "CallWithBearerToken" or scope[3:4] != ["sagemaker"]:
        return "The bearer token was not made for CallWithBearerToken"
    if scope[2] != region:
        return f"The bearer token is scoped to {scope[2]}, not to {region}"
    if not 0 < lifetime <= 43200 or now > signed + lifetime or signed > now + 300:
        return "The security token included in the request is expired"
    return None

"""Authentication of Job Runtime calls, from one refreshable credential source per process.

The public SDK builds a botocore session for each token; under 32 concurrent rollouts that starves the
container credential provider. Here one source is shared, refreshed off the event loop, and a token is
cached for a few minutes only, because it dies when the credentials behind it rotate.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from adapters.contract.headers import BEARER_PREFIX, SIGNING_NAME

TOKEN_LIFETIME_SECONDS = 900
REUSE_SECONDS = 300
"""How long a token, or a snapshot of the credentials, is used before it is made anew."""


class CredentialsMissing(RuntimeError):
    """No AWS credentials were found; the message says where they are looked for."""


class Authorizer(Protocol):
    """Makes the headers that authenticate one request."""

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """Headers to add. Nothing shared is changed: they belong to this request alone."""

    def at_once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str] | None:
        """The same headers if they can be made without waiting for credentials, else None."""

    def renew(self) -> None:
        """Forget what is cached: the service answered 401 or 403 to it."""


def default_credentials() -> Any:
    """The process's botocore credentials, refreshable where the provider refreshes.

    Raises:
        CredentialsMissing: none are configured.
    """
    from botocore.session import get_session  # 4 MB and 40 ms that tests with fixed credentials save

    try:
        credentials = get_session().get_credentials()
    except BotoCoreError as error:  # half a key pair, an unknown profile, a broken file
        raise CredentialsMissing(f"The AWS credentials cannot be used: {error}") from error
    if credentials is None:
        raise CredentialsMissing(
            "No AWS credentials were found. Give the task, Pod, instance or runtime a role, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return credentials


class _Snapshots:
    """Consistent copies of the credentials, taken off the event loop, one refresh at a time."""

    def __init__(self, credentials: Any, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._lock = asyncio.Lock()
        self._snapshot: Credentials | None = None
        self._taken = 0.0

    def fresh(self) -> Credentials | None:
        """The last copy, while it may still be used."""
        return self._snapshot if self._clock() - self._taken < REUSE_SECONDS else None

    async def get(self) -> Credentials:
        async with self._lock:
            if self._snapshot is None or self._clock() - self._taken >= REUSE_SECONDS:
                # get_frozen_credentials may call a metadata service, and blocks while it does.
                frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
                self._snapshot = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
                self._taken = self._clock()
            return self._snapshot

    def forget(self) -> None:
        self._snapshot = None


class BearerAuthorizer:
    """`Authorization: Bearer sagemaker-api-key-…`: a presigned CallWithBearerToken, base64-encoded."""

    def __init__(self, credentials: Any, region: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._snapshots = _Snapshots(credentials, clock)
        self._region = region
        self._clock = clock
        self._token = ""
        self._minted = 0.0

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        if self._stale():
            credentials = await self._snapshots.get()
            if self._stale():  # of many rollouts that waited for the credentials, one signs
                self._token = mint_token(credentials, self._region)
                self._minted = self._clock()
        return {"Authorization": f"Bearer {self._token}"}

    def at_once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str] | None:
        return None if self._stale() else {"Authorization": f"Bearer {self._token}"}

    def _stale(self) -> bool:
        return not self._token or self._clock() - self._minted >= REUSE_SECONDS

    def renew(self) -> None:
        self._token = ""
        self._snapshots.forget()


class SigV4Authorizer:
    """Signs each request, body included."""

    def __init__(self, credentials: Any, region: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._snapshots = _Snapshots(credentials, clock)
        self._region = region

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        return self._signed(await self._snapshots.get(), method, url, headers, body)

    def at_once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str] | None:
        credentials = self._snapshots.fresh()
        return None if credentials is None else self._signed(credentials, method, url, headers, body)

    def _signed(
        self, credentials: Credentials, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        SigV4Auth(credentials, SIGNING_NAME, self._region).add_auth(request)
        return {k: v for k, v in request.headers.items() if k not in headers}

    def renew(self) -> None:
        self._snapshots.forget()


def mint_token(credentials: Credentials, region: str, lifetime: int = TOKEN_LIFETIME_SECONDS) -> str:
    """A bearer token in the form that the public SDK's token generator makes.

    It is the base64 of a SigV4-presigned `sagemaker.amazonaws.com/?Action=CallWithBearerToken`, valid for
    `lifetime` seconds, or until the credentials behind it rotate.
    """
    url = "https://sagemaker.amazonaws.com/"
    host, params = {"host": "sagemaker.amazonaws.com"}, {"Action": "CallWithBearerToken"}
    request = AWSRequest("POST", url, host, params=params)
    SigV4QueryAuth(credentials, SIGNING_NAME, region, expires=lifetime).add_auth(request)
    presigned = request.url.removeprefix("https://") + "&Version=1"
    return BEARER_PREFIX + base64.b64encode(presigned.encode()).decode()

"""Credentials that rotate: an endpoint as a container agent's, and a look at what a request was signed with.

A key is refused some seconds after the next one was issued, long before the expiry that was stated for it:
what is signed ahead with it, a bearer token above all, dies early.
"""

import base64
import binascii
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self
from urllib.parse import unquote

from aiohttp import web

from adapters.contract.headers import BEARER_PREFIX

BEARER = f"Bearer {BEARER_PREFIX}"
REFRESH_SECONDS = 900.0
"""botocore asks for new credentials so long before the expiry that it was told."""
OVERLAP_SECONDS = 5.0
"""A key that was rotated out is taken so much longer: requests signed with it may be on their way."""
KEY = re.compile(r"Credential=([^/\s]+)/")


class Issuer:
    """Issues a key with each `rotate`. The last one is taken, and for a while the one before."""

    def __init__(self, period: float, clock: Callable[[], float] = time.time) -> None:
        self.period = period
        self.url = ""
        self.asked = 0
        """Requests for credentials."""
        self._clock = clock
        self._keys: list[tuple[str, float]] = []
        self.rotate()

    @property
    def current(self) -> str:
        return self._keys[-1][0]

    def rotate(self) -> None:
        """A new key from now on."""
        self._keys.append((f"ROTATED{len(self._keys):09d}", self._clock()))

    def takes(self, authorization: str | None) -> bool:
        """Whether an Authorization header was made with a key that is still good."""
        key = key_of(authorization)
        if key == self.current:
            return True
        before = self._keys[-2][0] if len(self._keys) > 1 else None
        return key == before and self._clock() < self._keys[-1][1] + OVERLAP_SECONDS

    def environ(self) -> dict[str, str]:
        """The variables of a process that gets its credentials here."""
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve the endpoint on a loopback port until the context is left."""
        app = web.Application()
        app.router.add_get("/credentials", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/credentials"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        key, issued = self._keys[-1]
        # As if it expired when botocore has to ask again: at the next rotation.
        expiry = datetime.fromtimestamp(issued + self.period + REFRESH_SECONDS, UTC)
        return web.json_response(
            {
                "AccessKeyId": key,
                "SecretAccessKey": f"secret-of-{key}",
                "Token": f"session-of-{key}",
                "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


def key_of(authorization: str | None) -> str | None:
    """The access key id that a signature or a bearer token was made with."""
    told = authorization or ""
    if told.startswith(BEARER):
        try:
            presigned = base64.b64decode(told.removeprefix(BEARER), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            return None
        told = unquote(presigned).replace("X-Amz-Credential=", "Credential=")
    found = KEY.search(told)
    return found[1] if found else None

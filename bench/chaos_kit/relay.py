"""A reverse HTTP proxy on a loopback port, which can be down and whose subclasses do harm."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

MAX_BODY_BYTES = 64 * 1024 * 1024
KEEPALIVE_SECONDS = 120.0
"""Longer than any client's: a connection that is closed for idleness must not look like a fault."""
HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Expect")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that arrived whole."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class Relay:
    """Passes requests on to `target`; one port for its whole life, also after it was down."""

    def __init__(self, target: str) -> None:
        self.target = target.rstrip("/")
        self.port = 0
        self.is_down = False
        self._transports: set[asyncio.Transport] = set()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve until the context is left."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=1.0
        )
        await self._runner.setup()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15.0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._session:
            try:
                await self._listen()
                yield self
            finally:
                await self._runner.cleanup()

    async def down(self, seconds: float) -> None:
        """Refuse connections for a while; those that are open are reset."""
        assert self._site is not None  # noqa: S101 - it is serving
        self.is_down = True
        await self._site.stop()
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._listen()
            self.is_down = False

    async def treat(self, request: web.Request, body: bytes) -> Reply | None:
        """The answer to a request, or None to cut the connection. Subclasses do their harm here."""
        return await self.forward(request, body)

    async def forward(self, request: web.Request, body: bytes) -> Reply:
        """Pass a request on. Raises aiohttp.ClientError if the target cuts the connection."""
        assert self._session is not None  # noqa: S101 - it is serving
        headers = CIMultiDict(request.headers)
        for name in HOP_BY_HOP:
            headers.popall(name, None)
        url = URL(self.target + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            content = await answer.read()
            kept = CIMultiDict(answer.headers)
            for name in (*HOP_BY_HOP, "Date", "Server"):
                kept.popall(name, None)
            return Reply(answer.status, kept, content)

    async def _listen(self) -> None:
        assert self._runner is not None  # noqa: S101 - it is serving
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=1024, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[-1][1]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return web.Response(status=500)
        self._transports.add(transport)
        reply: Reply | None = None
        if not self.is_down:
            with contextlib.suppress(aiohttp.ClientError):
                reply = await self.treat(request, await request.read())
        if reply is None or self.is_down:
            transport.abort()
            return web.Response(status=500)
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


def client_is_gone(request: web.Request) -> bool:
    """Whoever asked has hung up, or died."""
    return request.transport is None or request.transport.is_closing()

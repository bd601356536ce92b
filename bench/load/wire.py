"""A lean HTTP/1.1 server for the simulated service: it must stay far cheaper than what it measures."""

import asyncio
import re
from collections.abc import Callable

_LENGTH = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 409: b"Conflict"}


class Request:
    """One request. Headers stay bytes: `header` looks one up."""

    __slots__ = ("_connection", "_head", "body", "method", "path")

    def __init__(self, head: bytes, body: bytes, connection: "Connection") -> None:
        self._head = head
        self._connection = connection
        self.body = body
        method, path, _ = head.split(b" ", 2)
        self.method = method.decode()
        self.path = path.decode()

    def header(self, pattern: "re.Pattern[bytes]") -> str:
        found = pattern.search(self._head)
        return found[1].strip().decode() if found else ""

    def reply(self, body: bytes, *, status: int = 200, kind: bytes = b"application/json") -> None:
        self._connection.send(
            b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
            % (status, _REASONS.get(status, b"-"), kind, len(body)),
            body,
        )


class Connection(asyncio.Protocol):
    """Parses requests that carry a Content-Length, one after the other."""

    def __init__(self, serve: Callable[[Request], None]) -> None:
        self._serve = serve
        self._buffer = bytearray()
        self._continued = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server makes
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = _LENGTH.search(head)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < stop:
                self._expected(head)
                return
            body = bytes(self._buffer[end + 4 : stop])
            del self._buffer[:stop]
            self._continued = False
            self._serve(Request(head, body, self))

    def _expected(self, head: bytes) -> None:
        """Some clients send a body only when they are told to go on."""
        if not self._continued and b"100-continue" in head.lower() and self._transport is not None:
            self._continued = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send(self, head: bytes, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head + body)


async def listen(serve: Callable[[Request], None]) -> tuple[asyncio.Server, str]:
    """Serve on a loopback port of the system's choice; the server and its URL."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(serve), "127.0.0.1", 0, backlog=4096)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

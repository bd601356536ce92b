"""The relay between a process and one AWS service: fails a share of the calls, or sends messages twice."""

import asyncio
import random
import re
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.relay import Relay, Reply

ROLLOUT_KEY = re.compile(rb'"rollout": ?\{"S": ?"([^"]+)"')
EXPIRED = b'{"__type": "ExpiredTokenException", "message": "The security token is expired (injected)"}'
LATER_SECONDS = 20.0
"""A second copy comes up to so much later: while the first is played, and after it has ended."""


class AwsRelay(Relay):
    """One third of the failures each: 503, a reset before the call took effect, a reset after it did."""

    def __init__(self, target: str, rng: random.Random, keys: Issuer | None = None) -> None:
        super().__init__(target)
        self.expired = 0
        """Calls that were signed with a key that is not good any more, and refused."""
        self._keys = keys
        self.fails = 0.0
        """The share of calls that fail."""
        self.twice = 0.0
        """The share of SendMessage calls that are made twice."""
        self.failed = 0
        self.failed_rollouts: set[bytes] = set()
        """Ledger items whose calls were hurt."""
        self.sent = 0
        """Messages that were put on a queue, the copies apart."""
        self.doubled = 0
        self._rng = rng
        self._later: set[asyncio.Task[Any]] = set()

    @property
    def hits(self) -> int:
        """Rollouts that were hit where the call names one, else calls."""
        return len(self.failed_rollouts) or self.failed or self.doubled

    async def treat(self, request: web.Request, body: bytes) -> Reply | None:
        if self._keys is not None and not self._keys.takes(request.headers.get("Authorization")):
            self.expired += 1
            return Reply(403, CIMultiDict({"Content-Type": "application/x-amz-json-1.0"}), EXPIRED)
        if self._rng.random() < self.fails:
            return await self._fail(request, body)
        reply = await self.forward(request, body)
        is_send = request.headers.get("X-Amz-Target") == "AmazonSQS.SendMessage"
        self.sent += is_send
        if is_send and self._rng.random() < self.twice:
            self.doubled += 1
            self._start(self._again(request, body))
        return reply

    async def _fail(self, request: web.Request, body: bytes) -> Reply | None:
        self.failed += 1
        named = ROLLOUT_KEY.search(body)
        if named:
            self.failed_rollouts.add(named[1])
        kind = self._rng.randrange(3)
        if kind == 0:
            return Reply(503, CIMultiDict({"Content-Type": "text/plain"}), b"Service Unavailable (injected)")
        if kind == 1:
            await self.forward(request, body)
        return None

    async def _again(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(self._rng.choice((0.0, self._rng.uniform(0, LATER_SECONDS))))
        await self.forward(request, body)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

"""Calls to SQS that go out ten at a time: what is asked within a moment is sent together.

Each caller waits for its own entry, so a drain that waits for its messages waits for their deletes. SQS
answers for every entry by itself: what it could not do is sent again, what it refuses is the caller's error.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

LARGEST_BATCH = 10
GATHER_SECONDS = 0.2
ATTEMPTS = 4
"""Of an entry that SQS says it could not handle; a call that fails as a whole is repeated by botocore."""
RETRY_SECONDS = 1.0

Send = Callable[[list[dict[str, Any]]], Awaitable[Mapping[str, Any]]]


class Batches:
    """Gathers entries for one batch operation of one queue."""

    def __init__(self, operation: str, send: Send, *, fine: frozenset[str] = frozenset()) -> None:
        """`fine`: codes of refusals that mean that there is nothing left to do."""
        self._operation = operation
        self._send = send
        self._fine = fine
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret

    async def do(self, **entry: Any) -> None:
        """Wait until SQS has done this to the message with this `ReceiptHandle`.

        Raises a botocore error: of the call, or of this entry.
        """
        for attempt in range(ATTEMPTS):
            failure = await self._once(entry)
            if failure is None or failure["Code"] in self._fine:
                return
            if failure.get("SenderFault") or attempt == ATTEMPTS - 1:
                error = {"Code": failure["Code"], "Message": failure.get("Message", "")}
                raise ClientError({"Error": error}, self._operation)
            await asyncio.sleep(self._jitter.uniform(0, RETRY_SECONDS * 2**attempt))

    async def _once(self, entry: dict[str, Any]) -> Mapping[str, Any] | None:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        for known, superseded in list(self._waiting):  # of two for one message, the later one is meant
            if known["ReceiptHandle"] == entry["ReceiptHandle"]:
                self._waiting.remove((known, superseded))
                if not superseded.done():
                    superseded.set_result(None)
        self._waiting.append((entry, done))
        if len(self._waiting) >= LARGEST_BATCH:
            self._start(0.0)
        elif len(self._waiting) == 1:
            self._start(GATHER_SECONDS)
        failure: Mapping[str, Any] | None = await done
        return failure

    def _start(self, pause: float) -> None:
        task = asyncio.create_task(self._flush(pause))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _flush(self, pause: float) -> None:
        await asyncio.sleep(pause)
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        if not batch:  # a full one has gone before its time
            return
        if self._waiting:
            self._start(GATHER_SECONDS)
        entries = [{"Id": str(number), **entry} for number, (entry, _) in enumerate(batch)]
        try:
            answer = await self._send(entries)
        except Exception as error:  # noqa: BLE001 - each caller is told, and decides
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        failed = {each["Id"]: each for each in answer.get("Failed", ())}
        for number, (_, done) in enumerate(batch):
            if not done.done():  # else its caller was cancelled
                done.set_result(failed.get(str(number)))

"""What ends work on a rollout from outside: its deadline, a drain, a hand-over to another worker."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from adapters.contract import EnvironmentFault, StopReason
from adapters.runtime.stage import let_go

T = TypeVar("T")


class Cutting:
    """Two signals to all rollouts of a process, now and later. Neither is taken back."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        """Finish with what there is, now."""
        self.handing_over = asyncio.Event()
        """Leave to another worker what it can go on with."""

    async def before_the_end(
        self, work: "asyncio.Future[T]", deadline: float, leaving: Callable[[], Coroutine[Any, Any, None]]
    ) -> T | StopReason:
        """What comes of `work`, or why it was cut.

        `leaving` returns, once a hand-over was asked for, when this work can be left; or never.
        """
        cut = asyncio.create_task(self._cut(leaving))
        either: set[asyncio.Future[Any]] = {work, cut}
        try:
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.cancelled():
                raise EnvironmentFault("was cancelled from within")
            if work.done():
                return work.result()
            return StopReason.DRAINED if cut.done() else StopReason.WALL_CLOCK
        finally:
            cut.cancel()
            await let_go(work)

    async def _cut(self, leaving: Callable[[], Coroutine[Any, Any, None]]) -> None:
        drained = asyncio.create_task(self.draining.wait())
        left = asyncio.create_task(self._left(leaving))
        try:
            await asyncio.wait({drained, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
            left.cancel()

    async def _left(self, leaving: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self.handing_over.wait()
        await leaving()

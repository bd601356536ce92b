"""Holds an episode open, so that nothing an environment or a loop does can hold the rollout.

A plug-in may hang while it opens or closes an episode, swallow a cancellation, call `sys.exit`. Each of
these is bounded here; the rollout goes on to be graded and reported.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from adapters.contract import Environment, EnvironmentFault, Episode, Task

LET_GO_SECONDS = 2.0
"""How long a cancelled loop may take before it is left behind."""
CLOSE_SECONDS = 5.0
"""How long an episode may take to close before it is left behind."""

T = TypeVar("T")


class Stage:
    """An episode, opened and closed by one task of its own, as many context managers require."""

    def __init__(self, environment: Environment, task: Task) -> None:
        self.opened: asyncio.Future[Episode] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._keeper = asyncio.create_task(contained(self._keep(environment, task)))
        self._keeper.add_done_callback(_looked_at)

    async def _keep(self, environment: Environment, task: Task) -> None:
        try:
            async with environment.open(task) as episode:
                if not self.opened.done():
                    self.opened.set_result(episode)
                    await self._leave.wait()
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if self.opened.done():
                raise
            fault = EnvironmentFault(f"open raised {type(error).__name__}")
            fault.__cause__ = error
            self.opened.set_exception(error if isinstance(error, Exception) else fault)

    async def close(self) -> BaseException | None:
        """Leave the episode; what went wrong with that, if anything."""
        self._leave.set()
        if not self.opened.done() or self.opened.cancelled():  # it is still opening
            self._keeper.cancel()
        await asyncio.wait({self._keeper}, timeout=CLOSE_SECONDS)
        if not self._keeper.done():
            self._keeper.cancel()
            return TimeoutError(f"the episode did not close within {CLOSE_SECONDS:g} s")
        return None if self._keeper.cancelled() else self._keeper.exception()


async def contained(work: Coroutine[Any, Any, T]) -> T:
    """`sys.exit` in a plug-in ends one rollout, not the process and 95 others."""
    try:
        return await work
    except SystemExit as error:
        raise EnvironmentFault(f"sys.exit({error.code}) was called") from error


async def let_go(work: "asyncio.Future[Any]") -> None:
    """Cancel, and wait a moment; whoever swallows the cancellation is left behind."""
    if work.done():
        return
    work.add_done_callback(_looked_at)
    work.cancel()
    await asyncio.wait({work}, timeout=LET_GO_SECONDS)


def _looked_at(work: "asyncio.Future[Any]") -> None:
    """What is left behind may still raise; asyncio would print that, with what is in it."""
    if not work.cancelled():
        work.exception()

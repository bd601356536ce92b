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
        self._signalled = Call()
        self.draining = Signal(self._signalled)
        """Finish with what there is, now."""
        self.handing_over = Signal(self._signalled)
        """Leave to another worker what it can go on with."""

    async def before_the_end(
        self, work: "asyncio.Future[T]", deadline: float, leaving: Callable[[], Coroutine[Any, Any, None]]
    ) -> T | StopReason:
        """What comes of `work`, or why it was cut.

        `leaving` returns, once a hand-over was asked for, when this work can be left; or never.
        """
        # Hardly a rollout is ever cut: what watches for it is started only when there is a signal.
        watch = _Watch(self._signalled, lambda: self._cut(leaving))
        either: set[asyncio.Future[Any]] = {work, watch.cut}
        try:
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.cancelled():
                raise EnvironmentFault("was cancelled from within")
            if work.done():
                return work.result()
            return StopReason.DRAINED if watch.cut.done() else StopReason.WALL_CLOCK
        finally:
            watch.end()
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


class Call:
    """Calls whoever listens, once something was signalled; listeners that come later at once."""

    def __init__(self) -> None:
        self._made = False
        self._listeners: dict[object, Callable[[], None]] = {}

    def make(self) -> None:
        self._made = True
        for heard in list(self._listeners.values()):
            heard()
        self._listeners.clear()

    def listen(self, who: object, heard: Callable[[], None]) -> None:
        if self._made:
            heard()
        else:
            self._listeners[who] = heard

    def forget(self, who: object) -> None:
        self._listeners.pop(who, None)


class Signal:
    """An event that also makes a call when it is set."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()
        self._call.make()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


class _Watch:
    """A future that is done when a rollout is to be cut. `cutting` runs from the first signal on."""

    def __init__(self, call: Call, cutting: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call = call
        self._cutting = cutting
        self._task: asyncio.Task[None] | None = None
        call.listen(self, self._start)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._cutting())
        self._task.add_done_callback(self._done)

    def _done(self, _: "asyncio.Task[None]") -> None:
        if not self.cut.done():
            self.cut.set_result(None)

    def end(self) -> None:
        self._call.forget(self)
        if self._task is not None:
            self._task.cancel()
        self.cut.cancel()

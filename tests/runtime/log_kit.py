"""Two workers of one rollout, one after the other: what the first leaves, and what the second makes of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from adapters.contract import Outcome, RolloutRequest, ToolResult
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime, answers, assistant, tool_call
from adapters.runtime.log_store import MemoryLogStore
from tests.runtime.dynamo_kit import KEYS, Clock, item, worker
from tests.runtime.kit import JOB, Adapter, adapter, request


def three_turns(seen: Any) -> dict[str, Any]:
    """Calls the tool in two turns, then answers; each answer is another."""
    sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
    call = tool_call("look", {"turn": sampled})
    return assistant(f"turn {sampled}", call) if sampled < 2 else assistant("done")


class Broken(MemoryLogStore):
    """A store that fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses_puts = self.refuses_gets = False

    async def put(self, request: RolloutRequest, data: bytes) -> None:
        if self.refuses_puts:
            raise OSError("put")
        await super().put(request, data)

    async def get(self, request: RolloutRequest) -> bytes | None:
        if self.refuses_gets:
            raise OSError("get")
        return await super().get(request)


class Gate:
    """A tool that waits at its `stop`-th call of all episodes until it is cut or opened."""

    def __init__(self, stop: int) -> None:
        self.stop, self.calls = stop, 0
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _: Mapping[str, Any]) -> ToolResult:
        self.calls += 1
        if self.calls == self.stop:
            self.reached.set()
            await self.opened.wait()
        return ToolResult("42")


def environment(tool: Any = None, replay: Any = "reexecute") -> FakeEnvironment:
    return FakeEnvironment(replay=replay, tools={"look": tool or answers("42")})


FITS: dict[str, Any] = {"sample_timeout": 10.0}
"""Fits the lease of `dynamo_kit.worker`."""


class Two:
    """Two workers of one table and one store, one after the other."""

    def __init__(self, service: FakeJobRuntime, dynamo: Any) -> None:
        self.service, self.dynamo = service, dynamo
        self.logs = Broken()
        self.request = request(next(KEYS))
        self.line: dict[str, Any] = {}

    def item(self) -> dict[str, Any]:
        return item(self.dynamo, f"{JOB}/{self.request.rollout_id}")

    async def first(self, what: FakeEnvironment, until: Any, end: Any, **settings: Any) -> Any:
        """Run until something has happened, end the worker in some way; what its `run` came to."""
        ledger = worker(self.dynamo, Clock(), "one")
        async with adapter(self.service, what, ledger=ledger, logs=self.logs, **FITS | settings) as own:
            running = asyncio.create_task(own.rollouts.run(self.request))
            async with asyncio.timeout(20):
                await until
                await end(own, running)
                (result,) = await asyncio.gather(running, return_exceptions=True)
        ledger.close()
        return result

    async def second(self, what: FakeEnvironment, **settings: Any) -> Outcome:
        ledger = worker(self.dynamo, Clock(), "two")
        async with adapter(self.service, what, ledger=ledger, logs=self.logs, **FITS | settings) as own:
            outcome = await own.rollouts.run(self.request)
            self.line = own.metrics()
        ledger.close()
        return outcome


async def handed_over(own: Adapter, _: Any) -> None:
    own.rollouts.hand_over()


async def cut(own: Adapter, running: "asyncio.Task[Any]") -> None:
    """A hand-over whose grace ends with the Sample still in flight."""
    own.rollouts.hand_over()
    await asyncio.wait({running}, timeout=0.3)
    assert not running.done()
    own.rollouts.drain()


async def crashed(_: Adapter, running: "asyncio.Task[Any]") -> None:
    """What a crash leaves in table and store, without the wait for the lease."""
    running.cancel()

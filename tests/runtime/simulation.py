"""One rollout, several workers, and a network that does what it likes, in virtual time and by one seed.

The code under test is the product's own: life cycle, ledger, log keeping, Job Runtime client, loop. Simulated
are the clock, DynamoDB's conditions, the queue, and the service: a model of the trajectory that says what was
broken.
"""

import asyncio
import contextlib
import io
import itertools
import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import orjson
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

from adapters.contract import Outcome, PolicyUnavailable, RolloutRequest, ToolResult
from adapters.loops.tool_loop import ToolLoop
from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger
from adapters.runtime.fakes import FakeEnvironment, assistant, tool_call
from adapters.runtime.job_runtime import JobRuntime, Reply, Unknown, Unsent
from adapters.runtime.lease import decode
from adapters.runtime.ledger import LeaseLost, LedgerUnavailable
from adapters.runtime.log_store import MemoryLogStore
from adapters.runtime.reporting import NotAcknowledged
from adapters.runtime.rollout import Busy, HandedBack, Rollouts
from adapters.runtime.telemetry import Telemetry
from tests.runtime.dynamo_kit import Request
from tests.runtime.kit import BASE, OpenAuthorizer, request
from tests.runtime.timed_table import SAMPLE_TIMEOUT, WALL, TimedTable
from tests.runtime.virtual_time import VirtualLoop

T = TypeVar("T")
TURNS, SKEW = 4, 6.0
LEASE = 2 * SAMPLE_TIMEOUT + 30
HIDDEN, REST, HORIZON = 120.0, 15.0, 6000.0
EPOCH: ContextVar[int] = ContextVar("epoch")
"""The claim that the running task works under."""


@dataclass
class Plan:
    """What happens in one simulation, drawn from its seed."""

    on_crash: Literal["fail", "resume"]
    crashes: bool
    drains: bool
    outage: bool
    mishaps: float
    pauses: float

    @classmethod
    def draw(cls, chance: random.Random) -> "Plan":
        return cls(
            on_crash="fail" if chance.random() < 0.5 else "resume",
            crashes=chance.random() < 0.3,
            drains=chance.random() < 0.5,
            outage=chance.random() < 0.4,
            mishaps=chance.choice([0.0, 0.1, 0.35]),
            pauses=chance.choice([0.0, 0.0, 0.05, 0.2]),
        )


@dataclass
class Trajectory:
    """The service's side, and what it holds against its clients."""

    turns: list[tuple[int, int]] = field(default_factory=list)
    """Of each accepted Sample: the claim's epoch, and the turns that its conversation holds."""
    delivered: int = 0
    sealed: str | None = None
    rewards: list[float] | None = None
    in_flight: list[int] = field(default_factory=list)


class Simulation:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.plan = Plan.draw(self.chance)
        self.loop = VirtualLoop()
        self.table = TimedTable(self.loop.time)
        self.logs = MemoryLogStore()
        self.service = Trajectory()
        self.broken: list[str] = []
        self.died = False
        self.request = request("r1")
        self.key = f"{self.request.job_arn}/{self.request.rollout_id}"
        self.messages = [0.0] * self.chance.choice([1, 1, 2, 3])
        """When each copy of the message is visible; removed when it is deleted."""
        self.down = (0.0, 0.0)

    def violate(self, what: str) -> None:
        self.broken.append(what)

    def run(self) -> list[str]:
        """Play it to the end; what was broken."""
        asyncio.set_event_loop(self.loop)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", self.loop.time)
            patch.setattr(random, "Random", lambda: self.chance)  # the jitter, too, comes from the seed
            try:
                self.workers = [Worker(self, number) for number in range(3)]
                self.loop.run_until_complete(self._play())
            finally:
                self.loop.close()
                asyncio.set_event_loop(None)
        return self.broken

    async def _play(self) -> None:
        now, late = self.loop.time(), self.loop.time() + HORIZON
        self.messages = [now + self.chance.uniform(0, 30) for _ in self.messages]
        if self.plan.outage:
            start = now + self.chance.uniform(0, 120)
            self.down = (start, start + self.chance.choice([20.0, 60.0, 200.0, 400.0]))
        polls = [asyncio.create_task(worker.work()) for worker in self.workers]
        while self.messages and self.loop.time() < late:  # noqa: ASYNC110 - time is all that there is
            await asyncio.sleep(5)
        for worker in self.workers:
            worker.dead = True
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*polls, *tasks, return_exceptions=True)
        self.broken += [f"{end!r}" for end in ends if isinstance(end, Exception)]
        self._judge()

    def _judge(self) -> None:
        service, item = self.service, self.table.item
        # After an outage longer than a lease, whoever is first has the rollout: its worker, or another one.
        self.died |= self.down[1] - self.down[0] > LEASE and self._taken_over()
        if self.messages or (service.rewards is None and service.sealed != "failed"):
            self.violate("lost")
        elif "acknowledged" not in item:
            self.violate("the message is gone, and nothing is acknowledged")
        if service.sealed == "failed" and not self.died:
            self.violate("sealed failed, though nobody died")
        if service.sealed == "ready" and not self.died and len(service.turns) < TURNS:
            self.violate("not played to its end, though nobody died")
        self.broken += self.table.broken

    def _taken_over(self) -> bool:
        pairs = itertools.pairwise(self.table.history)
        return any("owner" in before and after["epoch"] != before["epoch"] for before, after in pairs)

    # What the service is told.

    def serve(self, path: str, epoch: int, body: Mapping[str, Any]) -> Reply:
        service, item = self.service, self.table.item
        outcome = decode(item["outcome"]["S"]) if "outcome" in item else None
        if path == "/sample":
            return self._sample(epoch, body)
        if outcome is None:
            self.violate("reported before it was written down")
        elif path == "/complete-rollout" and body["Status"] != outcome.sealed:
            self.violate("sealed otherwise than written down")
        if "acknowledged" in item and service.rewards is None and service.sealed != "failed":
            self.violate("acknowledged before it was reported")
        if path == "/complete-rollout":
            if service.sealed not in (None, body["Status"]):
                self.violate("two seals")
            service.sealed = service.sealed or body["Status"]
        else:
            if service.rewards not in (None, body["Rewards"]) or service.sealed != "ready":
                self.violate("two rewards, or one before the seal")
            service.rewards = body["Rewards"]
        return Reply(200, b"{}", None)

    def _sample(self, epoch: int, body: Mapping[str, Any]) -> Reply:
        service = self.service
        depth = sum(message["role"] == "assistant" for message in body["messages"])
        if service.sealed is not None:
            self.violate("a Sample after the seal")
            return Reply(409, b"not in valid status", None)
        epochs = [each for each, _ in service.turns]
        if epochs and epoch < epochs[-1]:
            self.violate("turns of two claims are mixed")
        # A crash leaves one turn in doubt that `resume` may repeat; nothing else repeats an answered turn.
        if depth < service.delivered - (1 if self.died and self.plan.on_crash == "resume" else 0):
            self.violate("an answered turn was sampled again")
        service.turns.append((epoch, depth))
        answer = assistant("done") if depth == TURNS - 1 else assistant(f"t{depth}", tool_call("look"))
        return Reply(200, orjson.dumps(answer), None)


class Worker:
    """A queue worker: a process may die, halt for a while, be told to stop, and is started again."""

    def __init__(self, simulation: Simulation, number: int) -> None:
        self.simulation, self.number = simulation, number
        self.dead = False
        self.rollouts = self._start()

    def _start(self) -> Rollouts:
        simulation, chance = self.simulation, self.simulation.chance
        self.dead = False
        offset = WALL + SKEW * (self.number - 1) / 2
        skewed = lambda: simulation.loop.time() + offset  # noqa: E731
        self.ledger = Ledger(
            Network(self), "ledger", owner=f"{self.number}-{chance.random()}", request_timeout=SAMPLE_TIMEOUT,
            skew=SKEW, monotonic=simulation.loop.time, wall_clock=skewed,
        )  # fmt: skip
        self.ledger.worker = self
        runtime = Runtime(self)

        async def look(_: Mapping[str, Any]) -> ToolResult:
            await asyncio.sleep(chance.choice([0.1, 2.0, 20.0]))
            return ToolResult("42")

        chosen = replace(
            BASE, sample_timeout=SAMPLE_TIMEOUT, budget=HORIZON, on_crash=simulation.plan.on_crash,
            max_attempts=50, uncertain_retries=3, log_level="ERROR",
        )  # fmt: skip
        environment = FakeEnvironment(replay="reexecute", tools={"look": look}, max_turns=TURNS + 1)
        telemetry = Telemetry("n", "fake", "ERROR", io.StringIO())
        return Rollouts(
            chosen, environment, ToolLoop(), runtime, self.ledger, telemetry, None, simulation.logs, skewed
        )

    async def work(self) -> None:
        """Receive, play, settle; and now and then die or be told to stop in the middle of it."""
        simulation, chance = self.simulation, self.simulation.chance
        while True:
            await asyncio.sleep(chance.uniform(0.5, 5))
            now = simulation.loop.time()
            seen = [at for at in simulation.messages if at <= now]
            if not seen:
                continue
            simulation.messages.remove(seen[0])
            # A heartbeat to the queue that comes too late shows the message to another worker.
            visible = now + (HIDDEN if chance.random() < 0.8 else chance.uniform(0, HIDDEN))
            simulation.messages.append(visible)
            playing = asyncio.create_task(self.rollouts.run(simulation.request))
            if simulation.plan.crashes and chance.random() < 0.4:
                await asyncio.wait({playing}, timeout=chance.uniform(0, 60))
                if not playing.done():
                    await self._die(playing)
                    continue
            elif simulation.plan.drains and chance.random() < 0.6:
                await asyncio.wait({playing}, timeout=chance.uniform(0, 60))
                self.rollouts.hand_over()
            await asyncio.wait({playing})
            self._settle(playing, visible)
            if self.rollouts._cutting.handing_over.is_set():
                self.ledger.close()
                self.rollouts = self._start()

    async def _die(self, playing: "asyncio.Task[Any]") -> None:
        self.dead = self.simulation.died = True
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        self.ledger.close()
        self.rollouts = self._start()

    def _settle(self, playing: "asyncio.Task[Any]", visible: float) -> None:
        messages, now = self.simulation.messages, self.simulation.loop.time()
        error = playing.exception()
        if visible in messages:
            messages.remove(visible)
            if isinstance(error, HandedBack):
                messages.append(now)
            elif isinstance(
                error, Busy | NotAcknowledged | LeaseLost | LedgerUnavailable | BotoCoreError | ClientError
            ):
                messages.append(now + REST)
        if error is not None and not isinstance(
            error,
            HandedBack | Busy | NotAcknowledged | LeaseLost | LedgerUnavailable | BotoCoreError,
        ):
            raise error


class Ledger(DynamoLedger):
    """Its calls take time, and may wait in a process that was halted; nothing is done in threads."""

    worker: Worker

    async def claim(self, key: str) -> DynamoClaim | Outcome | None:
        taken = await super().claim(key)
        if isinstance(taken, DynamoClaim):
            EPOCH.set(taken.epoch)
        return taken

    async def off_loop(self, call: Callable[[], T]) -> T:
        simulation = self.worker.simulation
        chance = simulation.chance
        halted = chance.random() < simulation.plan.pauses
        simulation.died |= halted  # for so long that others must take it for dead
        await asyncio.sleep(chance.choice([LEASE, 2 * LEASE, 200.0]) if halted else chance.uniform(0, 0.1))
        result = call()
        await asyncio.sleep(chance.uniform(0, 0.1))
        return result


class Network:
    """A worker's client of the table. A request may be lost, take effect unheard, or take effect later."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def _fate(self) -> str:
        simulation = self.worker.simulation
        start, end = simulation.down
        if self.worker.dead or start <= simulation.loop.time() < end:
            raise ConnectTimeoutError(endpoint_url="table")
        mishap = simulation.chance.random() < simulation.plan.mishaps
        return simulation.chance.choice(["lost", "unheard", "late", "twice"]) if mishap else "well"

    def update_item(self, **asked: Any) -> Any:
        simulation, fate = self.worker.simulation, self._fate()
        if fate == "late":
            delay = simulation.chance.choice([0.5, 5.0, 60.0, LEASE])
            simulation.loop.call_later(delay, self._arrive, asked)
        if fate in ("lost", "late"):
            raise ReadTimeoutError(endpoint_url="table")
        answer = simulation.table.update(asked)
        if fate == "unheard":
            raise ReadTimeoutError(endpoint_url="table")
        return simulation.table.update(asked) if fate == "twice" else answer

    def _arrive(self, asked: Request) -> None:
        with contextlib.suppress(ClientError):
            self.worker.simulation.table.update(asked)


class Runtime(JobRuntime):
    """The client, without its wire: a request takes up to its timeout, and may be refused or cut."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(None, "", OpenAuthorizer(), timeout=SAMPLE_TIMEOUT, uncertain_retries=3)  # type: ignore[arg-type]
        self._worker = worker

    async def _post(
        self, path: str, asked: RolloutRequest, body: bytes, extra: dict[str, str], deadline: float
    ) -> Reply:
        simulation, chance = self._worker.simulation, self._worker.simulation.chance
        service = simulation.service
        if deadline <= simulation.loop.time():
            raise PolicyUnavailable("out of time")
        epoch = EPOCH.get()
        mishap = chance.random() < simulation.plan.mishaps / 2
        fate = chance.choice(["refused", "lost", "cut"]) if mishap else "well"
        if fate == "refused":
            raise Unsent("refused")
        if any(other != epoch for other in service.in_flight):
            simulation.violate("requests of two claims at once")
        service.in_flight.append(epoch)
        try:
            await asyncio.sleep(chance.choice([0.1, 3.0, SAMPLE_TIMEOUT - 1]))
            if fate == "lost":
                raise Unknown("cut on its way")
            reply = simulation.serve(path, epoch, orjson.loads(body))
            if fate == "cut":
                raise Unknown("cut on its way back")
            if path == "/sample" and reply.status == 200:
                service.delivered = max(service.delivered, service.turns[-1][1] + 1)
            return reply
        finally:
            service.in_flight.remove(epoch)


def simulate(seed: int) -> list[str]:
    """What was broken in the simulation of this seed."""
    return Simulation(seed).run()

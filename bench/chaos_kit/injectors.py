"""What is done to a running system, from outside. An injector runs until it is cancelled, or is done.

Each returns nothing and adds to `field.hits` how many rollouts were in flight where it struck.
"""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from bench.chaos_kit.aws_relay import AwsRelay
from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.wire import Record, Wire
from bench.chaos_kit.workers import Worker

WARM_UP = 5.0
ROUNDS = 3
"""Of pausing: two workers at a time hold some fifty rollouts."""
HIDDEN_SECONDS = 135.0
"""Longer than a message is hidden (120 s): another worker takes over while this one still stands still."""


@dataclass(slots=True)
class Field:
    """The parts of a run that an injector may touch."""

    workers: Sequence[Worker]
    wires: Sequence[Wire]
    relays: Mapping[str, AwsRelay]
    record: Record
    rng: random.Random
    lease: float
    shortest_interval: float
    startups: float
    send: Callable[[str], Awaitable[Any]]
    """Puts a message on the queue."""
    gauge: Callable[[], Awaitable[float]]
    """What the deployment's gauge says of work that waits without a worker; takes ten seconds."""
    keys: Issuer | None = None
    """Where the workers get credentials that rotate."""
    releases: Sequence[Path] = ()
    """Folders of the code that is in use, and of the one that is rolled out."""
    hits: int = 0
    strikes: int = 0
    gauged: list[float] = field(default_factory=list)

    async def interval(self) -> None:
        slowest = max(worker.startup for worker in self.workers)
        await asyncio.sleep(max(self.shortest_interval, self.startups * slowest))

    def strike(self, in_flight: int) -> None:
        self.strikes += 1
        self.hits += in_flight


Injector: TypeAlias = Callable[[Field], Awaitable[None]]


async def rolling_restart(field: Field) -> None:
    """SIGTERM to one worker after the other; each is replaced when it has exited."""
    while True:
        for worker in field.workers:
            await field.interval()
            field.strike(worker.in_flight)
            await worker.restart(signal.SIGTERM)


async def kill_at_random(field: Field) -> None:
    """SIGKILL to a random worker, which is replaced."""
    while True:
        await field.interval()
        worker = field.rng.choice(field.workers)
        field.strike(worker.in_flight)
        await worker.restart(signal.SIGKILL)


async def pause_workers(field: Field) -> None:
    """SIGSTOP for two leases at least, then SIGCONT: of two workers at a time. Ends by itself."""
    for round_ in range(ROUNDS):
        await asyncio.sleep(WARM_UP)
        chosen = [field.workers[(round_ + n) % len(field.workers)] for n in range(2)]
        for worker in chosen:
            field.strike(worker.in_flight)
            worker.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(max(2 * field.lease, HIDDEN_SECONDS))
        finally:
            for worker in chosen:
                field.record.died(worker.who)  # what it had in hand is no longer its own
                worker.send(signal.SIGCONT)
        if not field.record.in_flight():
            return
    await asyncio.sleep(WARM_UP)


def service_down(seconds: float) -> Injector:
    """The Job Runtime refuses connections. Twice, a while apart; ends by itself."""

    async def inject(field: Field) -> None:
        for pause in (WARM_UP, seconds / 2):
            await asyncio.sleep(pause)
            field.strike(field.record.in_flight())
            await asyncio.gather(*(wire.down(seconds) for wire in field.wires))

    return inject


def aws_down(service: str, seconds: float) -> Injector:
    """An AWS service refuses the workers' connections, again and again with a pause as long."""

    async def inject(field: Field) -> None:
        while True:
            await asyncio.sleep(WARM_UP)
            field.strike(field.record.in_flight())
            await field.relays[service].down(seconds)
            await asyncio.sleep(seconds)

    return inject


def restarts_while_down(service: str, seconds: float) -> Injector:
    """An AWS service is down while all workers are restarted; then it works for a while, and again."""

    async def inject(field: Field) -> None:
        while True:
            await asyncio.sleep(WARM_UP)
            outage = asyncio.create_task(field.relays[service].down(seconds))
            await asyncio.sleep(0)  # it is down from here on
            try:
                for worker in field.workers:
                    field.strike(worker.in_flight)
                # All at once: one that waits for the service to come back would keep the next from being hit.
                await asyncio.gather(*(worker.restart(signal.SIGTERM) for worker in field.workers))
                await outage
            finally:
                outage.cancel()
                with suppress(asyncio.CancelledError):
                    await outage
            await asyncio.sleep(seconds / 2)

    return inject


async def rotate_keys(field: Field) -> None:
    """A new key every period; what was signed with the one before is refused soon after."""
    assert field.keys is not None  # noqa: S101 - the row says `rotates`
    while True:
        await asyncio.sleep(field.keys.period)
        field.keys.rotate()
        field.strike(field.record.in_flight())


async def roll_out(field: Field) -> None:
    """One worker after the other is replaced by one of the next release; then all the way back, and again."""
    ahead = 0
    while True:
        ahead = (ahead + 1) % len(field.releases)
        for worker in field.workers:
            await field.interval()
            field.strike(worker.in_flight)
            worker.code = field.releases[ahead]
            await worker.restart(signal.SIGTERM)


def nobody_works(away: float, back: float) -> Injector:
    """No worker for so long, while the queue fills; then all for a while. Thrice; ends by itself."""

    async def inject(field: Field) -> None:
        for round_ in range(ROUNDS):
            if round_:
                await asyncio.gather(*(worker.stop() for worker in field.workers))
            await asyncio.sleep(away)
            field.strike(0)  # what expires is counted afterwards
            field.gauged.append(await field.gauge())
            await asyncio.gather(*(worker.start() for worker in field.workers))
            await asyncio.sleep(back)

    return inject


async def junk(field: Field) -> None:
    """Messages that no forwarder of ours would send."""
    for body in ("no json", '{"prompt": "nobody asked"}', '{"claim_check": 1}'):
        await field.send(body)
        field.strike(1)

"""The injectors strike as often and as hard as their rows say, at doubles of the workers and relays."""

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from bench.chaos_kit import injectors
from bench.chaos_kit.aws_relay import AwsRelay
from bench.chaos_kit.injectors import (
    Field,
    Injector,
    nobody_works,
    restarts_while_down,
    roll_out,
    rotate_keys,
)
from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.wire import Record
from bench.chaos_kit.workers import Worker

OLD, NEW = Path("old"), Path("new")


class Place:
    """A worker without a process: says what was done to it."""

    def __init__(self, number: int, done: list[str]) -> None:
        self.number = number
        self.done = done
        self.code = OLD
        self.startup = 0.0
        self.in_flight = 10

    async def start(self) -> None:
        self.done.append(f"start {self.number}")

    async def stop(self) -> None:
        self.done.append(f"stop {self.number}")

    async def restart(self, number: signal.Signals) -> None:
        self.done.append(f"{number.name} {self.number} {self.code}")
        await asyncio.sleep(0)


class Service:
    """A relay that is only up or down."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    async def down(self, seconds: float) -> None:
        self.done.append("down")
        try:
            await asyncio.sleep(seconds)
        finally:
            self.done.append("up")


def field(done: list[str], keys: Issuer | None = None) -> Field:
    async def gauge() -> float:
        done.append("gauge")
        return 7.0

    async def send(_: str) -> None: ...

    return Field(
        workers=[cast(Worker, Place(n, done)) for n in range(3)],
        wires=[],
        relays={"s3": cast(AwsRelay, Service(done))},
        record=Record(in_hand={(0, 1): {"a", "b"}}),
        rng=random.Random(0),
        lease=1.0,
        shortest_interval=0.001,
        startups=0.0,
        send=send,
        gauge=gauge,
        keys=keys,
        releases=[OLD, NEW],
    )


async def run_until(inject: Injector, field: Field, reached: Callable[[], bool]) -> None:
    running: asyncio.Future[Any] = asyncio.ensure_future(inject(field))
    async with asyncio.timeout(30):
        while not reached():
            assert not running.done(), running
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait({running})


async def test_a_release_is_rolled_out_worker_by_worker_and_back_again() -> None:
    done: list[str] = []
    hurt = field(done)
    await run_until(roll_out, hurt, lambda: len(done) >= 6)
    assert done[:6] == [f"SIGTERM {n} {code}" for code in (NEW, OLD) for n in range(3)]
    assert hurt.hits == 10 * hurt.strikes
    assert hurt.strikes >= 6


async def test_workers_are_restarted_while_the_service_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injectors, "WARM_UP", 0.0)
    done: list[str] = []
    hurt = field(done)
    await run_until(restarts_while_down("s3", 1.0), hurt, lambda: done.count("down") == 2)
    first = done[: done.index("up")]
    assert first == ["down", *(f"SIGTERM {n} {OLD}" for n in range(3))]
    assert done[-1] == "up", "broken off, it does not leave the service down"


async def test_a_key_is_rotated_and_all_in_flight_are_hit() -> None:
    issuer = Issuer(0.001)
    first, hurt = issuer.current, field([], issuer)
    await run_until(rotate_keys, hurt, lambda: hurt.strikes >= 2)
    assert hurt.hits == 2 * hurt.strikes
    assert not issuer.takes(f"Credential={first}/")


async def test_nobody_works_then_all_do_and_none_again() -> None:
    done: list[str] = []
    hurt = field(done)
    await nobody_works(0.001, 0.001)(hurt)
    starts, stops = ([f"{what} {n}" for n in range(3)] for what in ("start", "stop"))
    again = [*stops, "gauge", *starts]
    assert done == ["gauge", *starts, *again, *again], "the job ends with workers"
    assert hurt.gauged == [7.0] * 3

"""One measurement: an adapter, a level, an episode shape; what it cost and how long it took."""

import os
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.load import meter, world
from bench.load.candidates import Candidate
from bench.load.driver import Drive, Driver, Level
from bench.load.running import Running, cores, running
from bench.load.service import Service

WARM_UP = Level(concurrency=4, rollouts=8, seconds=60.0)
LEAST_PLAYED = 1.0
"""Rollouts that must have been played for their CPU time to say anything."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of results.json. Seconds, and MB of 10^6 bytes."""

    adapter: str
    entrypoint: str
    concurrency: int
    rollouts: int
    rollouts_per_s: float
    over_ideal_p50_s: float | None
    over_ideal_p95_s: float | None
    cpu_s_per_rollout: float | None
    peak_rss_mb: float
    idle_rss_mb: float
    startup_s: float
    errors: int
    crossed: int
    unfinished: int = 0
    run: int = 0
    turns: int = 7
    result_bytes: int = 300
    model_latency_s: float = 0.2
    first_error: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Bench:
    """The simulated service and the client that all measurements share."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder

    async def levels(
        self, candidate: Candidate, levels: Sequence[Level], shape: world.Shape, run: int
    ) -> list[Row]:
        """Start a candidate and drive it through levels. Raises DidNotStart.

        A process whose level was cut is still busy with it: the next level gets a new one.
        """
        rows: list[Row] = []
        while len(rows) < len(levels):
            async with self.started(candidate, max(level.concurrency for level in levels)) as process:
                for level in levels[len(rows) :]:
                    rows.append(await self.row(candidate, process, level, shape, run))
                    if rows[-1].unfinished:
                        break
        return rows

    @asynccontextmanager
    async def started(self, candidate: Candidate, places: int) -> AsyncIterator[Running]:
        """A candidate's process, warm. Raises DidNotStart."""
        os.sched_setaffinity(0, cores()[1])
        async with running(candidate, self.service.url, self.folder, places) as process:
            await self.drive(process, WARM_UP, world.Shape(turns=2, latency=0.01))
            yield process

    async def row(
        self, candidate: Candidate, process: Running, level: Level, shape: world.Shape, run: int
    ) -> Row:
        meter.forget_peak(process.pid)
        before = meter.cpu_seconds(process.pid)
        drive = await self.drive(process, level, shape)
        cpu = meter.cpu_seconds(process.pid) - before
        # What was cut had been worked on too: a rollout is as many Samples as an episode has.
        played = len(drive.over_ideal) if not drive.unfinished else self.service.samples / shape.turns
        return Row(
            adapter=candidate.adapter,
            entrypoint=candidate.entrypoint,
            concurrency=level.concurrency,
            rollouts=len(drive.over_ideal),
            rollouts_per_s=round(played / drive.seconds, 2),
            over_ideal_p50_s=percentile(drive.over_ideal, 0.5),
            over_ideal_p95_s=percentile(drive.over_ideal, 0.95),
            cpu_s_per_rollout=round(cpu / played, 6) if played >= LEAST_PLAYED else None,
            peak_rss_mb=round(meter.memory_mb(process.pid, "VmHWM"), 1),
            idle_rss_mb=round(process.idle_mb, 1),
            startup_s=round(process.startup, 3),
            errors=len(drive.errors),
            crossed=self.service.crossed,
            unfinished=drive.unfinished,
            run=run,
            turns=shape.turns,
            result_bytes=shape.result_bytes,
            model_latency_s=shape.latency,
            first_error=drive.errors[0][:200] if drive.errors else "",
        )

    async def drive(self, process: Running, level: Level, shape: world.Shape) -> Drive:
        self.service.reset(shape)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            return await Driver(self.service, session, process.url, "/invocations").drive(level)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that so large a share of the values does not exceed; None without any."""
    if not values:
        return None
    if len(values) == 1:
        return round(values[0], 4)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return round(cuts[round(share * 100) - 1], 4)

"""The queue entrypoint under load. What counts is the CPU time of the worker's own process.

SQS and DynamoDB are an emulator on the other core, far slower than AWS: throughput and latency here are its
own, so latency is not reported. What a worker spends on a rollout does not depend on how long others take.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from bench.chaos_kit.cloud import Cloud
from bench.load import meter, world
from bench.load.candidates import ROOT, Candidate, environ
from bench.load.driver import Level
from bench.load.environment import register
from bench.load.measuring import LEAST_PLAYED, Bench, Row
from bench.load.running import START_SECONDS, DidNotStart, Running, cores, tail
from mtrl.deploying.emulator import emulator
from mtrl.rehearsing.processes import read_json_lines

EMULATOR = ROOT / ".venv-aws/bin/ministack"
WORKER = Candidate("mtrl-kit", "adapters.entrypoints.queue", entrypoint="queue")
BATCH = 10


async def rows(bench: Bench, level: Level, run: int) -> list[Row]:
    """One level, with an emulator and a worker of its own. Raises DidNotStart."""
    os.sched_setaffinity(0, cores()[1])  # the emulator inherits it
    with emulator(EMULATOR, bench.folder, bench.folder / "emulator.log", keep=False) as aws:
        cloud = Cloud.create(aws)
        async with _worker(cloud, bench, level.concurrency) as process:
            await _play(bench, cloud, Level(4, 8, 60.0), world.Shape(turns=2, latency=0.01))
            meter.forget_peak(process.pid)
            before = meter.cpu_seconds(process.pid)
            seconds, unfinished = await _play(bench, cloud, level, world.Shape())
            cpu = meter.cpu_seconds(process.pid) - before
            return [_row(bench, level, process, cpu, seconds, unfinished, run)]


async def _play(bench: Bench, cloud: Cloud, level: Level, shape: world.Shape) -> tuple[float, int]:
    """Put rollouts on the queue, and wait for their rewards: seconds, and how many never came."""
    service = bench.service
    service.reset(shape)
    ids = [f"queued-{time.time_ns()}-{number}" for number in range(level.rollouts)]
    trajectories = [service.expect(rollout_id) for rollout_id in ids]
    began = time.monotonic()
    bodies = [_message(rollout_id, shape, service.url) for rollout_id in ids]
    for start in range(0, len(bodies), BATCH):
        entries = [
            {"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + BATCH])
        ]
        await asyncio.to_thread(cloud.sqs.send_message_batch, QueueUrl=cloud.queue, Entries=entries)
    waits = [asyncio.ensure_future(trajectory.ended.wait()) for trajectory in trajectories]
    _, late = await asyncio.wait(waits, timeout=level.seconds)
    for wait in late:
        wait.cancel()
    seconds = time.monotonic() - began
    await cloud.settled(5.0)  # the last messages are deleted after their rewards
    return seconds, len(late)


def _message(rollout_id: str, shape: world.Shape, endpoint: str) -> str:
    request = world.rollout_request(rollout_id, shape.result_bytes, endpoint)
    return orjson.dumps({**request, "received_at": time.time()}).decode()


def _row(
    bench: Bench, level: Level, process: Running, cpu: float, seconds: float, unfinished: int, run: int
) -> Row:
    shape = bench.service.shape
    done = [t for t in bench.service.trajectories.values() if t.samples == shape.turns and t.rewards == [1.0]]
    played = len(done) if not unfinished else bench.service.samples / shape.turns
    return Row(
        adapter=WORKER.adapter,
        entrypoint=WORKER.entrypoint,
        concurrency=level.concurrency,
        rollouts=len(done),
        rollouts_per_s=round(len(done) / seconds, 2),
        over_ideal_p50_s=None,
        over_ideal_p95_s=None,
        cpu_s_per_rollout=round(cpu / played, 6) if played >= LEAST_PLAYED else None,
        peak_rss_mb=round(meter.memory_mb(process.pid, "VmHWM"), 1),
        idle_rss_mb=round(process.idle_mb, 1),
        startup_s=round(process.startup, 3),
        errors=len(bench.service.breaches) + level.rollouts - len(done) - unfinished,
        crossed=bench.service.crossed,
        unfinished=unfinished,
        run=run,
        first_error=bench.service.breaches[0][:200] if bench.service.breaches else "",
    )


@asynccontextmanager
async def _worker(cloud: Cloud, bench: Bench, places: int) -> AsyncIterator[Running]:
    log: Path = bench.folder / "mtrl-kit-queue.log"
    variables = environ(WORKER, 0, bench.service.url, register(bench.folder / "plugins"), places)
    began = time.monotonic()
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *WORKER.command(),
            cwd=bench.folder,
            env={**variables, **cloud.environ()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    os.sched_setaffinity(process.pid, cores()[0])
    try:
        while not any(line.get("event") == "started" for line in read_json_lines(log)):
            if process.returncode is not None or time.monotonic() > began + START_SECONDS:
                raise DidNotStart(f"the queue worker did not start: {tail(log)}")
            await asyncio.sleep(0.01)
        startup = time.monotonic() - began
        await asyncio.sleep(1.0)
        yield Running("", process.pid, startup, meter.memory_mb(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

"""One run: everything is started, hurt while a job goes on, ended, and counted."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos_kit import tally
from bench.chaos_kit.aws_relay import AwsRelay
from bench.chaos_kit.cloud import Cloud
from bench.chaos_kit.code import PLUGIN, next_release, plugin
from bench.chaos_kit.faulty_sop import VARIABLE as PLUGIN_VARIABLE
from bench.chaos_kit.guards import RejectOnce, Rotation
from bench.chaos_kit.injectors import Field
from bench.chaos_kit.job import GROUP, Job, poison, spoiled
from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.policy import SlowPolicy
from bench.chaos_kit.rows import CLAIMS_BUCKET, LOG_BUCKET, LOG_VARIABLE, Row
from bench.chaos_kit.wire import Guard, Record, Wire
from bench.chaos_kit.workers import Worker
from mtrl.deploying.emulator import Emulator, emulator
from mtrl.deploying.processes import background
from mtrl.rehearsing.processes import child_environ, read_json_lines
from rehearsal.service.options import ACCOUNT

ROOT = Path(__file__).parents[2]
WORKERS = 3
SETTLE_SECONDS = 30.0
"""After the job, for workers to drop what is left on the queue."""
PATIENCE_SECONDS = 120.0
"""Beyond the attempts of the service, before a job is given up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, with which code, and where it leaves its files."""

    row: Row
    rollouts: int
    code: Path
    """The folder whose `adapters` the workers run: this repository, or a copy with something broken."""
    out: Path
    seed: int = 0
    next_code: Path | None = None
    """The folder whose `adapters` are rolled out; a copy of `code` with small changes if None."""

    @property
    def folder(self) -> Path:
        return self.out / self.row.name


@dataclass(slots=True)
class Ended:
    """What is left to count when all is over."""

    job: str
    seconds: float
    hits: int
    strikes: int
    counts: Mapping[str, int]
    ledger: Mapping[str, int]
    dead: Mapping[str, int]
    left: int
    record: Record
    gauged: list[float]
    overran: int = 0
    expired_at_aws: int = 0
    logs: list[Path] = field(default_factory=list)


def run(plan: Plan) -> tuple[tally.Result, dict[str, Any]]:
    """Run one row: its result, and the details that explain it."""
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.mkdir(parents=True)
    program = ROOT / ".venv-aws/bin/ministack"
    with emulator(program, plan.folder, plan.folder / "emulator.log", keep=False) as aws:
        ended = asyncio.run(_run(plan, aws))
    return _result(plan, ended), _details(plan, ended)


async def _run(plan: Plan, aws: Emulator) -> Ended:
    row, rng = plan.row, random.Random(plan.seed)  # noqa: S311 - decides faults, not secrets
    cloud, record = Cloud.create(aws), Record()
    async with AsyncExitStack() as stack:
        policy = SlowPolicy(turns=row.turns, seconds=row.sample_seconds)
        await stack.enter_async_context(policy.serving())
        issuer = await stack.enter_async_context(Issuer(row.rotates).serving()) if row.rotates else None
        relays = {name: AwsRelay(aws.url, rng, issuer) for name in {*row.relays, *row.fails}}
        for name, relay in relays.items():
            relay.fails = row.fails.get(name, 0.0)
            await stack.enter_async_context(relay.serving())
        doubling = await stack.enter_async_context(AwsRelay(aws.url, rng).serving())
        doubling.twice = row.twice
        endpoint = stack.enter_context(_stand_in(plan, cloud, policy, doubling))
        guard = _guard(row, issuer)
        wires = [Wire(endpoint, record, place, guard) for place in range(WORKERS)]
        for wire in wires:
            await stack.enter_async_context(wire.serving())
        environ = worker_environ(plan, cloud, relays, issuer)
        plugins = [plugin(plan.folder / "plugin")] if row.plugin else []
        workers = [
            Worker(w, record, n, plan.code, environ, plan.folder, plugins) for n, w in enumerate(wires)
        ]
        for worker in workers:
            stack.callback(worker.kill)
        if not row.absent:
            await asyncio.gather(*(worker.start() for worker in workers))
        field_ = Field(
            workers=workers,
            wires=wires,
            relays=relays,
            record=record,
            rng=rng,
            lease=row.lease,
            shortest_interval=row.interval,
            startups=row.startups,
            send=cloud.send,
            gauge=cloud.gauge,
            keys=issuer,
            releases=_releases(plan),
        )
        ended = await _attack(plan, Job(endpoint), field_, cloud)
        await asyncio.gather(*(worker.stop() for worker in workers))
        ended.overran = sum(worker.overran for worker in workers)
        ended.logs = [log for worker in workers for log in worker.logs]
        ended.hits += doubling.doubled + sum(relay.hits for relay in relays.values())
        ended.expired_at_aws = sum(relay.expired for relay in relays.values())
        if row.plugin:
            ended.hits += spoiled(plan.folder)
        if row.rejects and guard is not None:
            ended.hits += len(guard.turned_away)
        if row.poison:
            ended.hits += len(poison(plan.rollouts // GROUP)) * GROUP
        if row.forwarder:  # all that it sent beyond one message a rollout
            ended.hits += max(0, doubling.sent - plan.rollouts)
        return ended


def _guard(row: Row, issuer: Issuer | None) -> Guard | None:
    if issuer is not None:
        return Rotation(issuer)
    return RejectOnce(row.rejects, row.turns) if row.rejects else None


def _releases(plan: Plan) -> list[Path]:
    """The code that workers start with, and the one that replaces it, if the row has one."""
    if not plan.row.deploys:
        return [plan.code]
    return [
        plan.code,
        plan.next_code or next_release(plan.code, plan.folder / "next", plan.row.deploys),
    ]


async def _attack(plan: Plan, job: Job, field_: Field, cloud: Cloud) -> Ended:
    """The job from its start to its end, with the fault."""
    row, began = plan.row, time.monotonic()
    await job.start(row, plan.rollouts, plan.folder)
    injecting = asyncio.ensure_future(row.inject(field_)) if row.inject else None
    patience = row.undisturbed(plan.rollouts) + row.timeout * row.attempts + PATIENCE_SECONDS
    said = await job.ended(patience)
    seconds = time.monotonic() - began
    if injecting is not None:
        if not row.completes:
            injecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await injecting
        await _revive(field_)
    left = await cloud.settled(SETTLE_SECONDS)
    return Ended(
        job=said,
        seconds=seconds,
        hits=field_.hits,
        strikes=field_.strikes,
        counts=await job.counts(),
        ledger=await cloud.ledger(),
        dead=await cloud.dead(),
        left=left,
        record=field_.record,
        gauged=field_.gauged,
    )


async def _revive(field_: Field) -> None:
    """An injector that was cancelled in the middle of a restart leaves a place empty."""
    for worker in field_.workers:
        if not worker.alive:
            await worker.start()


def worker_environ(
    plan: Plan, cloud: Cloud, relays: Mapping[str, AwsRelay], issuer: Issuer | None = None
) -> dict[str, str]:
    """The variables of a worker."""
    row = plan.row
    known = (plan.code / "adapters/contract/variables.py").read_text()
    spoiled_by = {"MTRL_ENVIRONMENT": PLUGIN, PLUGIN_VARIABLE: row.plugin} if row.plugin else {}
    environ = child_environ(
        {
            **cloud.environ(),
            **{f"AWS_ENDPOINT_URL_{name.upper()}": relay.url for name, relay in relays.items()},
            **({LOG_VARIABLE: LOG_BUCKET} if f'"{LOG_VARIABLE}"' in known else {}),
            "MTRL_CLAIM_CHECK_BUCKET": CLAIMS_BUCKET,
            "MTRL_ENVIRONMENT": "sop",
            **spoiled_by,
            "MTRL_ACCOUNT_ID": ACCOUNT,
            "MTRL_MAX_CONCURRENCY": str(row.in_flight // WORKERS),
            "MTRL_SAMPLE_TIMEOUT_SECONDS": f"{row.sample_timeout:g}",
            "MTRL_ROLLOUT_BUDGET_SECONDS": str(row.timeout),
            **row.worker,
        }
    )
    if issuer is None:
        return environ
    fixed = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")  # they would go before the endpoint
    return {name: value for name, value in environ.items() if name not in fixed} | issuer.environ()


@contextmanager
def _stand_in(plan: Plan, cloud: Cloud, policy: SlowPolicy, sqs: AwsRelay) -> Iterator[str]:
    """The stand-in of the service with the forwarder; gives its URL."""
    log = plan.folder / "service.log"
    command = [sys.executable, "-m", "mtrl", "service", "--json", "--port", "0", "--fail-on", "none"]
    command += ["--state", str(plan.folder / "state"), "--policy", f"openai:{policy.url}"]
    command += ["--forwarder", str(ROOT / "bench/chaos_kit/forwarder.py"), *plan.row.service]
    environ = child_environ(
        {
            **cloud.environ(),
            "AWS_ENDPOINT_URL_SQS": sqs.url,
            "MTRL_CLAIM_CHECK_BUCKET": CLAIMS_BUCKET,
            **plan.row.forwarder,
        }
    )

    def endpoints() -> list[str]:
        return [str(line["endpoint"]) for line in read_json_lines(log) if "endpoint" in line]

    with background("stand-in", command, cwd=ROOT, environ=environ, log=log, ready=lambda: bool(endpoints())):
        yield endpoints()[0]


def _result(plan: Plan, ended: Ended) -> tally.Result:
    told = tally.stories(ended.record.calls)
    times = [second for log in ended.logs for second in tally.drains(list(read_json_lines(log)))]
    hits = len(told) if plan.row.hits_all else ended.hits
    hits += sum(story.expired for story in told.values()) if plan.row.absent else 0
    hits = hits or (tally.sampled_in_vain(ended.record.calls) if plan.row.hurts_service else 0)
    p99 = tally.percentile(times, 0.99)
    return tally.Result(
        fault=plan.row.name,
        rollouts=plan.rollouts,
        hit_in_flight=hits,
        lost=tally.lost(told, plan.rollouts),
        double=sum(story.double for story in told.values()),
        mixed=sum(story.mixed for story in told.values()),
        uncertain_turns=sum(story.uncertain for story in told.values()),
        sealed_failed=int(ended.counts.get("sealed_failed", 0)),
        repeated_samples=sum(story.repeated for story in told.values()),
        drain_p99_s=None if p99 is None else round(p99, 2),
        seconds=round(ended.seconds, 1),
    )


def _details(plan: Plan, ended: Ended) -> dict[str, Any]:
    told = tally.stories(ended.record.calls)
    lines = [line for log in ended.logs for line in read_json_lines(log)]
    return {
        "job": ended.job,
        "strikes": ended.strikes,
        "service": dict(ended.counts),
        "breaches": {name: ended.counts[name] for name in tally.BREACHES if ended.counts.get(name)},
        "ledger": dict(ended.ledger),
        "dead_letters": dict(ended.dead),
        "left_on_queue": ended.left,
        "workers_killed_for_overrunning": ended.overran,
        "stop_reasons": Counter(line["stop_reason"] for line in lines if line.get("event") == "rollout"),
        "events": Counter(line["event"] for line in lines if line.get("level") in ("WARNING", "ERROR")),
        "turns_by_trajectory": Counter(story.turns for story in told.values()),
        "cut_short": tally.cut_short(told, plan.row.turns),
        "expired": sum(story.expired for story in told.values()),
        "waiting_without_worker": ended.gauged,
        "expired_keys_at_aws": ended.expired_at_aws,
        "troubled": _troubled(ended),
        "load_average": os.getloadavg(),
    }


def _troubled(ended: Ended) -> list[str]:
    """The calls of up to ten trajectories that broke a promise, for whoever has to find out why."""
    told = tally.stories(ended.record.calls).items()
    bad = [name for name, story in told if story.double or story.mixed or story.repeated or not story.ended]
    chosen = set(bad[:10])
    return [json.dumps(_call(c)) for c in ended.record.calls if c.trajectory in chosen]


def _call(call: Any) -> dict[str, Any]:
    return {name: getattr(call, name) for name in call.__slots__}

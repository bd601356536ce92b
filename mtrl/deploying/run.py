"""The order of `mtrl deploy-local`: emulator, CDK, stand-in, worker, one training step, what is left."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args

from mtrl.deploying.cdk import Assembly, Cdk, check_created
from mtrl.deploying.container import read_container
from mtrl.deploying.emulator import Emulator, emulator
from mtrl.deploying.job import ROLLOUTS, Counts, TrainingJob, write_tasks
from mtrl.deploying.processes import stop
from mtrl.deploying.remains import Remains, forwarder, remains
from mtrl.deploying.stand_in import stand_in
from mtrl.deploying.worker import overrides, worker

Log = Literal["emulator", "cdk", "service", "worker"]


class Watch(Protocol):
    """What a person sees while it runs."""

    def begins(self, phase: str) -> None: ...

    def says(self, sentence: str) -> None: ...

    def counts(self, counts: Counts) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is deployed, from which checkout, by which emulator."""

    root: Path
    program: Path
    out: Path
    env: str
    target: str
    adapter: str
    keep: bool

    @property
    def work(self) -> Path:
        return self.out / "work"

    def log(self, name: Log) -> Path:
        return self.out / f"{name}.log"


@dataclass(slots=True)
class Result:
    """What was deployed, and what came of the rollouts."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By phase."""
    started: float = field(default_factory=time.monotonic)
    stacks: Mapping[str, float] = field(default_factory=dict)
    """Deployed, with the seconds that each took."""
    emulator: Emulator | None = None
    counts: Counts = field(default_factory=lambda: Counts({}))
    remains: Remains = field(default_factory=Remains)
    worker_exit: int = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the command was started."""
        return time.monotonic() - self.started

    def problems(self) -> list[str]:
        """Why this is no success; empty if it is one."""
        left, done = self.remains, self.counts.completed
        checks = {
            f"{done} of {ROLLOUTS} rollouts were completed": done != ROLLOUTS,
            f"{left.queue} messages are left in the queue": left.queue != 0,
            f"{left.dead_letters} messages are in the dead-letter queue": left.dead_letters != 0,
            f"the ledger has {left.ledger} items instead of {ROLLOUTS}": left.ledger != ROLLOUTS,
            f"the worker ended with exit code {self.worker_exit}": self.worker_exit != 0,
            f"the stand-in counted breaches: {self.counts.breaches}": bool(self.counts.breaches),
        }
        return [sentence for sentence, wrong in checks.items() if wrong]


def deploy_locally(plan: Plan, watch: Watch, result: Result) -> None:
    """Run the plan, and fill in the result as it goes.

    Raises:
        ProcessError, AssemblyError, DefinitionError, JobFailed, ValueError: what went wrong, in a sentence.
    """
    _clear(plan)
    clock = _Clock(result.seconds, watch)
    with ExitStack() as running:
        with clock("emulator"):
            log = plan.log("emulator")
            aws = running.enter_context(emulator(plan.program, plan.out, log, keep=plan.keep))
        result.emulator = aws
        assembly = _deploy(plan, aws, result, clock, watch)
        _train(plan, aws, assembly, result, clock, watch)


def _clear(plan: Plan) -> None:
    shutil.rmtree(plan.work, ignore_errors=True)
    plan.work.mkdir(parents=True)
    for name in get_args(Log):
        plan.log(name).unlink(missing_ok=True)


def _deploy(plan: Plan, aws: Emulator, result: Result, clock: "_Clock", watch: Watch) -> Assembly:
    cdk = Cdk(plan.root, aws, plan.work, plan.log("cdk"))
    with clock("cdk synth"):
        assembly = cdk.synthesize(plan.env, plan.target, plan.adapter, plan.work / "assembly")
    with clock("cdk bootstrap"):
        cdk.bootstrap(assembly)
    with clock("cdk deploy"):
        result.stacks = cdk.deploy(assembly)
        check_created(aws, assembly.wanted)
    for stack, reason in assembly.left_out().items():
        watch.says(f"Not deployed: {stack}: {reason}.")
    return assembly


def _train(
    plan: Plan, aws: Emulator, assembly: Assembly, result: Result, clock: "_Clock", watch: Watch
) -> None:
    container = read_container(assembly.folder, f"{assembly.name}-adapter-{plan.target}")
    data = plan.work / "train.jsonl"
    write_tasks(container.environ["MTRL_ENVIRONMENT"], data)
    function = forwarder(aws, f"{assembly.name}-intake")
    with ExitStack() as running:
        with clock("stand-in and worker"):
            endpoint = running.enter_context(stand_in(aws, plan.work, plan.log("service")))
            changes = overrides(container, aws, endpoint, plan.work)
            for name, why in changes.reasons.items():
                watch.says(f"Changed for this machine: {name}: {why}.")
            process = running.enter_context(worker(container, changes, plan.log("worker")))

        def tick(counts: Counts) -> None:
            result.counts = counts
            watch.counts(counts)

        job = TrainingJob(endpoint, f"{assembly.name}-deploy-local")
        with clock(f"{ROLLOUTS} rollouts"):
            job.run(function, data, plan.work / "outputs", tick)
        with clock("drain"):
            # The last messages are deleted after the job has its rewards: the drain waits for that.
            result.worker_exit = stop(process)
        result.counts = job.counts()
        result.remains = remains(aws, container.environ)


class _Clock:
    """Times the phases."""

    def __init__(self, seconds: dict[str, float], watch: Watch) -> None:
        self._seconds = seconds
        self._watch = watch

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        self._watch.begins(phase)
        yield
        self._seconds[phase] = round(time.monotonic() - started, 2)
        self._watch.says(f"{phase}: {self._seconds[phase]:.1f} s")

"""Runs an evaluation: each policy plays what is still missing of it, in an evaluation job of the stand-in."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mtrl.console import progress as console
from mtrl.evaluating.comparing import Comparison, compare
from mtrl.evaluating.figures import Figures, measure
from mtrl.evaluating.folder import JOB, LOG, TASKS, EvaluationFolder
from mtrl.evaluating.plan import EvaluationPlan
from mtrl.policies import PolicyChoice, ask
from mtrl.rehearsing.jobs import JobsClient
from mtrl.rehearsing.processes import local_loop

LOWEST_CONCURRENCY = 32
"""Of an evaluation job, by the service's own range; the stand-in is told what is really wanted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One policy's part of an evaluation."""

    policy: PolicyChoice
    figures: Figures
    transcripts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation came to."""

    plan: EvaluationPlan
    measured: list[Measured]
    comparison: Comparison | None
    played: int
    """Rollouts that this command played; the others were there."""
    seconds: float


def evaluate(plan: EvaluationPlan, folder: EvaluationFolder) -> Evaluation:
    """Play what is missing, and measure.

    Raises:
        ProcessError, JobFailed, BotoCoreError: a process or a job failed; what was finished stays on disk.
    """
    started, played = time.monotonic(), 0
    for number in range(len(plan.policies)):
        missing = _missing(plan, folder, number)
        if missing:
            played += _play(plan, folder, number, missing)
    measured = [_measure(plan, folder, number, policy) for number, policy in enumerate(plan.policies)]
    scores = [each.figures.task_scores for each in measured]
    comparison = compare(scores[0], scores[1], group=plan.asked.group) if len(scores) > 1 else None
    return Evaluation(plan, measured, comparison, played, time.monotonic() - started)


def reach(plan: EvaluationPlan, folder: EvaluationFolder, *, resume: bool) -> None:
    """See whether remote policies answer, before anything on disk is replaced.

    Raises:
        PolicyError: one that has something to play does not.
    """
    for number, policy in enumerate(plan.policies):
        if not resume or _missing(plan, folder, number):
            ask("--compare" if number else "--policy", policy, plan.asked.temperature)


def on_disk(plan: EvaluationPlan, folder: EvaluationFolder) -> tuple[int, int]:
    """How many tasks are finished, and of how many, over all policies."""
    done = sum(len(folder.finished(n, plan.asked.group)) for n in range(len(plan.policies)))
    return done, len(plan.tasks) * len(plan.policies)


def _missing(plan: EvaluationPlan, folder: EvaluationFolder, number: int) -> dict[str, str]:
    done = folder.finished(number, plan.asked.group)
    return {task: prompt for task, prompt in plan.tasks.items() if task not in done}


def _play(plan: EvaluationPlan, folder: EvaluationFolder, number: int, missing: dict[str, str]) -> int:
    policy, run = plan.policies[number], folder.new_run(number, missing)
    total = len(plan.tasks) * plan.asked.group
    with _loop(plan, policy, run) as endpoint, _bar(f"evaluate {policy.label}", total) as (bars, bar):
        client = JobsClient(endpoint, run / "jobs")
        tick = _counter(run / LOG, bars, bar, total - len(missing) * plan.asked.group)
        client.evaluate(JOB, run / TASKS, _hyperparameters(plan), None, tick)
    return len(missing) * plan.asked.group


def _loop(plan: EvaluationPlan, policy: PolicyChoice, run: Path) -> Any:
    options = ["--policy", policy.spec, "--seed", str(plan.asked.seed)]
    # By prompt, so that what is missing is played as it would have been in the whole.
    options += ["--seed-by", "prompt", "--max-concurrency", str(plan.asked.concurrency)]
    return local_loop(
        plan.asked.environment,
        run,
        options,
        adapter_environ=plan.adapter_environ,
        logs=run / LOG,
        archive=run / "transcripts",
        port=plan.asked.port,
        service_environ=policy.service_environ(),
    )


def _hyperparameters(plan: EvaluationPlan) -> dict[str, str]:
    asked = plan.asked
    return {
        "eval_group_size": str(asked.group),
        "pass_k_values": json.dumps(plan.ks),
        "success_threshold": str(plan.success),
        "temperature": str(asked.temperature),
        "sampling_top_p": str(asked.top_p),
        "sampling_max_tokens": str(asked.max_tokens),
        "rollout_timeout": str(asked.timeout),
        "rollout_max_concurrency": str(max(LOWEST_CONCURRENCY, asked.concurrency)),
    }


def _measure(plan: EvaluationPlan, folder: EvaluationFolder, number: int, policy: PolicyChoice) -> Measured:
    chosen = folder.rollouts(number, list(plan.tasks), plan.asked.group)
    rollouts = [rollout for group in chosen.values() for _, rollout in group]
    records = [{"policy": policy.label, **record} for record in folder.transcripts(chosen)]
    return Measured(policy, measure(rollouts, plan.ks, success=plan.success), records)


def _counter(log: Path, bars: Progress, bar: TaskID, before: int) -> Callable[[dict[str, Any]], None]:
    """Counts finished rollouts, reading only what is new in the adapter's log."""
    offset, seen = 0, before

    def tick(_: dict[str, Any]) -> None:
        nonlocal offset, seen
        with log.open("rb") as lines:
            lines.seek(offset)
            data = lines.read()
        offset += len(data)
        seen += data.count(b'"event":"rollout"')
        bars.update(bar, completed=seen)

    return tick


@contextmanager
def _bar(text: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield bars, bars.add_task(text, total=total)

"""Runs a rehearsal: base evaluation, training, trained evaluation; then writes what was measured."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mtrl.console import progress as console
from mtrl.rehearsing.jobs import JobsClient
from mtrl.rehearsing.plan import BATCH, EPOCHS, EVALUATION_GROUP, GROUP, KS, Plan
from mtrl.rehearsing.processes import local_loop, read_json_lines
from mtrl.rehearsing.results import RolloutLog
from mtrl.rehearsing.watching import Watch
from mtrl.report import Evaluation

BASE, TRAIN, TRAINED = "base-evaluation", "training", "trained-evaluation"
PHASES = {BASE: "base", TRAIN: "train", TRAINED: "trained"}

EVALUATION = {
    "eval_group_size": str(EVALUATION_GROUP),
    "pass_k_values": json.dumps(list(KS)),
    # The settings that the policy is trained and would be served at; temperature 0 would flatter it.
    "temperature": "1.0",
}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal measured, and where it lies."""

    plan: Plan
    seconds: float
    training_seconds: float
    base: Evaluation
    trained: Evaluation | None
    history: list[dict[str, Any]]
    transcripts: list[dict[str, Any]]
    rollouts: int
    stop_reasons: dict[str, int]
    disagreements: int
    jobs: list[dict[str, Any]]


def rehearse(plan: Plan) -> Rehearsal:
    """Run the plan.

    Raises:
        ProcessError, JobFailed: a process or a job of the rehearsal failed.
    """
    started = time.monotonic()
    shutil.rmtree(plan.work, ignore_errors=True)
    datasets = plan.datasets()
    logs, archive, outputs = plan.work / "adapter.log", plan.work / "transcripts", plan.work / "jobs"
    with _processes(plan, logs, archive) as endpoint, _bars() as bars:
        client = JobsClient(endpoint, outputs)
        expected = len(plan.tasks["test"]) * EVALUATION_GROUP
        evaluation = EVALUATION | {"success_threshold": str(plan.terms.success)}
        bar = bars.add_task("evaluate base policy", total=expected, note="")
        tick = _counting(bars, bar, Watch(logs, BASE, plan.terms))
        jobs = [client.evaluate(BASE, datasets["test"], evaluation, None, tick)]
        if plan.trains:
            jobs.append(_train(plan, client, bars, datasets, Watch(logs, TRAIN, plan.terms)))
            package = jobs[-1]["JobConfigDocument"]["ServiceOutput"]["OutputModelPackageArn"]
            bar = bars.add_task("evaluate trained policy", total=expected, note="")
            tick = _counting(bars, bar, Watch(logs, TRAINED, plan.terms))
            jobs.append(client.evaluate(TRAINED, datasets["test"], evaluation, package, tick))
        history = client.metrics(TRAIN) if plan.trains else []
    return _measure(plan, RolloutLog(logs, plan.terms), archive, history, jobs, time.monotonic() - started)


def _train(plan: Plan, client: JobsClient, bars: Progress, datasets: Any, watch: Watch) -> dict[str, Any]:
    bar = bars.add_task("train", total=plan.steps, note="")

    def tick(job: dict[str, Any]) -> None:
        at = job["JobConfigDocument"].get("ServiceOutput", {}).get("ProgressInfo", {}).get("CurrentStep", 0)
        metrics = client.metrics(TRAIN)[-1:]
        reward = f"reward {metrics[0]['rollout/reward/mean']:.2f}" if metrics else ""
        warned = watch.in_doubt > 0
        watch.look()
        if watch.in_doubt and not warned:
            _warn(watch, f"in training step {min(watch.steps)}" if watch.steps else "in validation")
        bars.update(bar, completed=at, note=f"{reward}{_doubts(watch)}")

    hyperparameters = {
        "global_batch_size": BATCH,
        "group_size": GROUP,
        "max_steps": plan.steps,
        "max_epochs": EPOCHS,
        "val_every": 5,
        "loss_fn": "importance_sampling",
        "pass_k_values": [1],
        "success_threshold": plan.terms.success,
    }
    channels = {"train": datasets["train"], "validation": datasets["validation"]}
    return client.train(TRAIN, channels, hyperparameters, tick)


def _counting(bars: Progress, bar: TaskID, watch: Watch) -> Callable[[dict[str, Any]], None]:
    """For an evaluation: its finished rollouts, and a warning at the first that its score contradicts."""

    def tick(_: dict[str, Any]) -> None:
        warned = watch.in_doubt > 0
        watch.look()
        if watch.in_doubt and not warned:
            _warn(watch, "in this evaluation")
        bars.update(bar, completed=watch.rollouts, note=_doubts(watch).lstrip(", "))

    return tick


def _warn(watch: Watch, where: str) -> None:
    """One line above the bars, as soon as it is known: a run with a hacked reward is better stopped."""
    console.print(
        f"[bold yellow]warning:[/] reward and score disagree {where}: rewarded as a success and scored 0 so "
        f"far: {watch.in_doubt}.",
        highlight=False,
        soft_wrap=True,
    )


def _doubts(watch: Watch) -> str:
    return f", {watch.in_doubt} rewarded at score 0" if watch.in_doubt else ""


@contextmanager
def _processes(plan: Plan, logs: Path, archive: Path) -> Iterator[str]:
    options = ["--policy", plan.policy.spec, "--seed", str(plan.seed)]
    with local_loop(
        plan.environment,
        plan.work,
        options,
        adapter_environ=plan.adapter_environ,
        logs=logs,
        archive=archive,
        service_environ=plan.policy.service_environ(),
    ) as served:
        yield served


@contextmanager
def _bars() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield bars


def _measure(
    plan: Plan,
    log: RolloutLog,
    archive: Path,
    history: list[dict[str, Any]],
    jobs: list[dict[str, Any]],
    seconds: float,
) -> Rehearsal:
    # Ours, beside the service's names: the score is measured in the adapter and never sent.
    steps = (("train", "rollout", BATCH * GROUP), ("val", "val", len(plan.tasks["validation"])))
    for phase, name, rollouts in steps:
        scores, doubts = log.step_scores(TRAIN, phase, rollouts), log.step_disagreements(TRAIN, phase)
        for line in history:
            if line["step"] in scores:
                line[f"{name}/score/mean"] = scores[line["step"]]
                line[f"{name}/disagreement/count"] = doubts[line["step"]]
    transcripts = [
        {"id": record["rollout_id"], "phase": phase, **record}
        for job, phase in PHASES.items()
        if (archive / f"{job}.jsonl").exists()
        for record in read_json_lines(archive / f"{job}.jsonl")
    ]
    held_out = {"tasks": len(plan.tasks["test"]), "group": EVALUATION_GROUP}
    return Rehearsal(
        plan=plan,
        seconds=seconds,
        training_seconds=sum(line["timing_s/step"] + line.get("timing_s/eval", 0.0) for line in history),
        base=log.evaluation(BASE, KS, **held_out),
        trained=log.evaluation(TRAINED, KS, **held_out) if plan.trains else None,
        history=history,
        transcripts=transcripts,
        rollouts=log.total,
        stop_reasons=log.stop_reasons(),
        disagreements=log.disagreements(),
        jobs=jobs,
    )

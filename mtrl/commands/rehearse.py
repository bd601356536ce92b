"""`mtrl rehearse`: the whole loop on this machine, from base policy to trained policy."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mtrl.console import complain, emit, end_on_sigterm, fail, make_folder, progress
from mtrl.policies import ACCEPTED, CHECKPOINT, ask
from mtrl.rehearsing.holding import held
from mtrl.rehearsing.jobs import JobFailed
from mtrl.rehearsing.plan import Plan, PlanError, make_plan
from mtrl.rehearsing.processes import ProcessError
from mtrl.rehearsing.results import first_disagreement, summary
from mtrl.rehearsing.run import TRAIN, Rehearsal
from mtrl.rehearsing.run import rehearse as run_plan
from mtrl.report import RunData, render
from mtrl.wording import counted
from rehearsal.policies.base import PolicyError

STEPS = 20


def rehearse(
    environment: Annotated[str, typer.Option(help="The environment, by name.")] = "sop",
    domain: Annotated[str | None, typer.Option(help="Its domain; default: the first one.")] = None,
    sop_bench: Annotated[Path | None, typer.Option(help="A SOP-Bench checkout to take domains from.")] = None,
    accept_license: Annotated[bool, typer.Option(help="Accept the licence that the checkout shows.")] = False,
    train_under_owners_license: Annotated[
        bool, typer.Option(help="Also train on the checkout: you have checked that its licence allows it.")
    ] = False,
    policy: Annotated[str, typer.Option(help=f"{ACCEPTED}.")] = "tiny",
    steps: Annotated[int, typer.Option(min=0, max=1000, help="Training steps; 0 evaluates only.")] = STEPS,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the report and the data behind it.")] = Path(
        "out/rehearsal"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")] = False,
) -> None:
    """Evaluate the base policy, train it, evaluate it again on held-out tasks, and write a report."""
    try:
        plan = make_plan(
            environment=environment,
            domain=domain,
            policy=policy,
            steps=steps,
            seed=seed,
            out=out,
            sop_bench=sop_bench,
            accept_license=accept_license,
            train_under_owners_license=train_under_owners_license,
        )
        ask("--policy", plan.policy)
    except (PlanError, PolicyError) as error:
        fail(str(error))
    make_folder(out, plan.work.name)
    _announce(plan)
    end_on_sigterm()
    try:
        with held(plan.out):
            rehearsal = run_plan(plan)
            figures = _write(rehearsal)
    except PlanError as error:
        fail(str(error))
    except (ProcessError, JobFailed) as error:
        complain(str(error))
        raise typer.Exit(1) from None
    if as_json:
        emit(figures)
    else:
        _show(rehearsal, figures)
    if figures["disagreements"]:
        _warn(rehearsal.plan, figures)


def _warn(plan: Plan, figures: dict[str, Any]) -> None:
    step = figures["first_disagreement_step"]
    since = f", in training from step {step} on" if step is not None else ""
    progress.print(
        f"[bold yellow]warning:[/] {figures['disagreements']} of {figures['rollouts']} rollouts were "
        f"rewarded as a success and scored 0{since}. Such a reward is being hacked, or the score is too "
        "strict: read the transcripts in the report, and run: "
        f"mtrl probe --environment {plan.environment} --domain {plan.domain}",
        highlight=False,
        soft_wrap=True,
    )


def _announce(plan: Plan) -> None:
    if plan.notice:
        progress.print(plan.notice, highlight=False, markup=False, soft_wrap=True)
    steps = counted(plan.steps, "training step")
    mode = steps if plan.trains else f"evaluation only ({plan.why_not})"
    progress.print(f"Rehearsing {plan.environment}/{plan.domain}, seed {plan.seed}, {mode}.", markup=False)


def _write(rehearsal: Rehearsal) -> dict[str, Any]:
    """Write the files of a rehearsal; the summary for `--json`."""
    out = rehearsal.plan.out
    files = {name: out / name for name in ("report.html", "metrics.jsonl", "transcripts.jsonl", "job.json")}
    _write_lines(files["metrics.jsonl"], rehearsal.history)
    _write_lines(files["transcripts.jsonl"], rehearsal.transcripts)
    files["report.html"].write_text(render(_report(rehearsal)), encoding="utf-8")
    files["job.json"].write_text(json.dumps(rehearsal.jobs, indent=2, default=str) + "\n", encoding="utf-8")
    checkpoint = _keep_checkpoint(rehearsal)
    return {
        "environment": rehearsal.plan.environment,
        "domain": rehearsal.plan.domain,
        "seed": rehearsal.plan.seed,
        "steps": len(rehearsal.history),
        "seconds": round(rehearsal.seconds, 2),
        "training_seconds": round(rehearsal.training_seconds, 2),
        "base": summary(rehearsal.base),
        "trained": summary(rehearsal.trained) if rehearsal.trained else None,
        "rollouts": rehearsal.rollouts,
        "stop_reasons": rehearsal.stop_reasons,
        "disagreements": rehearsal.disagreements,
        "first_disagreement_step": first_disagreement(rehearsal.history),
        "report": str(files["report.html"]),
        "metrics": str(files["metrics.jsonl"]),
        "transcripts": str(files["transcripts.jsonl"]),
        "checkpoint": str(checkpoint) if checkpoint else None,
    }


def _keep_checkpoint(rehearsal: Rehearsal) -> Path | None:
    """The trained policy, as the last step of training left it, where `mtrl evaluate` looks for it."""
    kept = rehearsal.plan.out / CHECKPOINT
    kept.unlink(missing_ok=True)  # one of an earlier rehearsal is not this one's
    if rehearsal.trained is None:
        return None
    written = sorted((rehearsal.plan.work / "jobs" / TRAIN / "checkpoints").glob("step-*.json"))
    return shutil.copyfile(written[-1], kept)


def _report(rehearsal: Rehearsal) -> RunData:
    plan = rehearsal.plan
    return RunData(
        environment=plan.environment,
        domain=plan.domain,
        seed=plan.seed,
        steps=len(rehearsal.history),
        seconds=rehearsal.seconds,
        held_out=len(plan.tasks["test"]),
        base=rehearsal.base,
        trained=rehearsal.trained,
        history=rehearsal.history,
        transcripts=rehearsal.transcripts,
        success_threshold=plan.terms.success,
    )


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _show(rehearsal: Rehearsal, figures: dict[str, Any]) -> None:
    tasks = len(rehearsal.plan.tasks["test"])
    table = Table(title=f"{figures['domain']}: {counted(tasks, 'held-out task')}, seed {figures['seed']}")
    for column in ("", "score", "reward", *(f"pass@{k}" for k in rehearsal.base.pass_at_k)):
        table.add_column(column, justify="right" if column else "left")
    for name, result in (("base", rehearsal.base), ("trained", rehearsal.trained)):
        if result is not None:
            passes = (f"{value:.1%}" for value in result.pass_at_k.values())
            table.add_row(name, f"{result.score:.1%}", f"{result.reward:.3f}", *passes)
    progress.print(table)
    progress.print(
        f"{counted(figures['rollouts'], 'rollout')} in {figures['seconds']:.0f} s "
        f"({figures['training_seconds']:.0f} s of them training). Report: {figures['report']}",
        highlight=False,
    )

"""`mtrl evaluate --local`: what a policy is worth on held-out tasks (docs/evaluation.md)."""

import json
import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from mtrl.console import complain, emit, end_on_sigterm, fail, progress
from mtrl.evaluating.figures import Estimate, Figures, as_json
from mtrl.evaluating.folder import REPORT, RESULT, TRANSCRIPTS, EvaluationFolder
from mtrl.evaluating.plan import Asked, EvaluationPlan, make_plan
from mtrl.evaluating.run import Evaluation, on_disk, reach
from mtrl.evaluating.run import evaluate as run_plan
from mtrl.policies import ACCEPTED
from mtrl.rehearsing.jobs import JobFailed
from mtrl.rehearsing.plan import PlanError
from mtrl.rehearsing.processes import ProcessError
from mtrl.report.evaluation import EvaluationData, render_evaluation, shown_p
from mtrl.wording import counted
from rehearsal.policies.base import PolicyError

INTERRUPTED = 128 + signal.SIGINT


def evaluate(
    context: typer.Context,
    local: Annotated[bool, typer.Option("--local", help="On this machine: stand-in and adapter.")] = False,
    environment: Annotated[str, typer.Option(help="The environment, by name.")] = "sop",
    domain: Annotated[str | None, typer.Option(help="Its domain; default: the first one.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Tasks from a file instead, as `mtrl dataset` writes it.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, validation or test.", show_default="test")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")] = None,
    policy: Annotated[str, typer.Option(help=f"{ACCEPTED}.")] = "tiny",
    compare: Annotated[str | None, typer.Option(help="Another policy, on the same tasks.")] = None,
    group: Annotated[int, typer.Option(min=1, max=32, help="Rollouts of each task.")] = 4,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="As the policy will be served.")] = 1.0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=512, max=8192, help="Of one turn.")] = 4096,
    concurrency: Annotated[int, typer.Option(min=1, max=96, help="Rollouts at a time.")] = 32,
    timeout: Annotated[int, typer.Option(min=300, max=39600, help="Seconds for one rollout.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw of a local policy.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the stand-in; 0: a free one.")] = 0,
    keys: Annotated[str, typer.Option(envvar="MTRL_SEAL_KEYS", help="Opens sealed targets: file:PATH.")] = "",
    sop_bench: Annotated[Path | None, typer.Option(help="A SOP-Bench checkout to take domains from.")] = None,
    accept_license: Annotated[bool, typer.Option(help="Accept the licence that the checkout shows.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("out/evaluation"),
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted evaluation in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")] = False,
) -> None:
    """Play held-out tasks, several times each, and report score, pass@k and pass^k with intervals."""
    if not local:
        fail(
            "Say where: `mtrl evaluate --local` evaluates on this machine. Jobs on AWS are not made here yet."
        )
    asked = Asked(
        environment=environment,
        domain=domain,
        dataset=dataset,
        split=split,
        limit=limit,
        policy=policy,
        compare=compare,
        group=group,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        concurrency=concurrency,
        timeout=timeout,
        port=port,
        keys=keys,
        keys_typed=_typed(context, "keys"),
        sop_bench=sop_bench,
        accept_license=accept_license,
        out=out,
    )
    folder = EvaluationFolder(out)
    try:
        plan = make_plan(asked)
        with folder.held():
            folder.check(plan.configuration(), resume=resume)
            reach(plan, folder, resume=resume)
            if not resume:
                folder.clear(plan.configuration())
            evaluation = _run(plan, folder)
            figures = _write(evaluation, folder)
    except (PlanError, PolicyError) as error:
        fail(str(error))
    if as_json:
        emit(figures)
    else:
        _show(evaluation, figures)


def _typed(context: typer.Context, option: str) -> bool:
    """Whether an option was written, and is not from the environment."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _run(plan: EvaluationPlan, folder: EvaluationFolder) -> Evaluation:
    if plan.notice:
        progress.print(plan.notice, highlight=False, markup=False, soft_wrap=True)
    end_on_sigterm()
    try:
        return run_plan(plan, folder)
    except KeyboardInterrupt:
        progress.print(_unfinished(plan, folder, "Interrupted."), soft_wrap=True, highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    except (ProcessError, JobFailed, BotoCoreError, ClientError) as error:
        complain(_unfinished(plan, folder, str(error)))
        raise typer.Exit(1) from None


def _unfinished(plan: EvaluationPlan, folder: EvaluationFolder, why: str) -> str:
    done, total = on_disk(plan, folder)
    return f"{why} {done} of {total} tasks are played and kept in {folder.path}; --resume plays the others."


def _write(evaluation: Evaluation, folder: EvaluationFolder) -> dict[str, Any]:
    """Write the files of an evaluation, the result last; the object for `--json`."""
    records = [record for each in evaluation.measured for record in each.transcripts]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    files = {
        "report": folder.write(REPORT, render_evaluation(_report(evaluation))),
        "transcripts": folder.write(TRANSCRIPTS, lines),
    }
    result = _result(evaluation) | {name: str(path) for name, path in files.items()}
    folder.write(RESULT, json.dumps(result, indent=2) + "\n")
    return result


def _result(evaluation: Evaluation) -> dict[str, Any]:
    plan, asked = evaluation.plan, evaluation.plan.asked
    first = evaluation.measured[0]
    result = {
        "environment": asked.environment,
        "domain": plan.domain or None,
        "dataset": asked.dataset,
        "split": plan.split or None,
        "policy": first.policy.label,
        "group": asked.group,
        "temperature": asked.temperature,
        "seed": asked.seed,
        **as_json(first.figures),
        "played": evaluation.played,
        "seconds": round(evaluation.seconds, 2),
        "comparison": None,
    }
    if evaluation.comparison is not None:
        found, second = evaluation.comparison, evaluation.measured[1]
        result["comparison"] = {
            "policy": second.policy.label,
            "difference": found.difference,
            "ci95": list(found.ci95),
            "p": found.p,
            "test": f"paired sign-flip over task means, two-sided, {found.method}",
            "tasks": found.tasks,
            "better": found.better,
            "worse": found.worse,
            "equal": found.equal,
            "other": as_json(second.figures),
        }
    return result


def _report(evaluation: Evaluation) -> EvaluationData:
    plan = evaluation.plan
    return EvaluationData(
        title=plan.title,
        split=plan.split,
        group=plan.asked.group,
        temperature=plan.asked.temperature,
        seed=plan.asked.seed,
        policies=[(each.policy.label, each.figures) for each in evaluation.measured],
        transcripts=[record for each in evaluation.measured for record in each.transcripts],
        comparison=evaluation.comparison,
        success_threshold=plan.success,
    )


def _show(evaluation: Evaluation, result: dict[str, Any]) -> None:
    measured = evaluation.measured
    first = measured[0].figures
    each_task = first.rollouts // first.tasks
    times = f"{counted(each_task, 'rollout')} each"
    table = Table(title=f"{evaluation.plan.title}: {counted(first.tasks, 'task')}, {times}")
    table.add_column("")
    for each in measured:
        table.add_column(each.policy.label.replace("[", "\\["), justify="right", overflow="fold")
    rows = [_rows(each.figures) for each in measured]
    for name in dict.fromkeys(name for each in rows for name in each):
        table.add_row(name.replace("[", "\\["), *(each.get(name, "") for each in rows))
    progress.print(table, highlight=False)
    progress.print("In brackets: 95 % intervals, the task being the unit.", highlight=False, markup=False)
    if evaluation.comparison is not None:
        progress.print(_compared(evaluation), highlight=False, markup=False, soft_wrap=True)
    for each in measured:
        if each.figures.cut_short:
            text = f"Cut short by the machinery: {each.figures.cut_short} of {each.policy.label}'s rollouts."
            progress.print(
                f"{text} They count as 0: --resume plays them again.", markup=False, soft_wrap=True
            )
    progress.print(
        f"{counted(evaluation.played, 'rollout')} played in {result['seconds']:.0f} s. "
        f"Report: {result['report']}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _rows(figures: Figures) -> dict[str, str]:
    """The rows of one policy's column, by their names."""
    rows = {"score": _percent(figures.score), "completion": _percent(figures.completion)}
    if figures.completed_score is not None:
        rows["score of the completed"] = f"{figures.completed_score:.1%}"
    rows |= {f"pass@{k}": _percent(each) for k, each in figures.pass_at_k.items() if k > 1}
    rows |= {f"pass^{k}": _percent(each) for k, each in figures.pass_power_k.items() if k > 1}
    rows |= {f"field {name}": _percent(each) for name, each in figures.fields.items()}
    low, high = figures.reward.ci95
    rows["reward"] = f"{figures.reward.value:.3f} [{low:.3f}, {high:.3f}]".replace("[", "\\[")
    rows["rewarded at score 0"] = str(figures.disagreements)
    return rows | {f"stopped: {reason}": str(n) for reason, n in figures.stop_reasons.items()}


def _percent(estimate: Estimate) -> str:
    low, high = estimate.ci95
    return f"{estimate.value:.1%} \\[{low * 100:.1f}, {high * 100:.1f}]"


def _compared(evaluation: Evaluation) -> str:
    found, (first, second) = evaluation.comparison, evaluation.measured
    assert found is not None  # noqa: S101 - the caller has looked
    low, high = found.ci95
    p = shown_p(found.p)
    p = p if p.startswith("<") else f"= {p}"
    return (
        f"{second.policy.label} against {first.policy.label}: {found.difference * 100:+.1f} points "
        f"[{low * 100:+.1f}, {high * 100:+.1f}], p {p} (paired by task; better on "
        f"{found.better}, worse on {found.worse}, equal on {found.equal})."
    )

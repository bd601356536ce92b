"""`mtrl deploy-local`: the deployment, really deployed onto an emulator, and 64 rollouts through it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mtrl.console import complain, emit, end_on_sigterm, fail, make_folder, progress
from mtrl.deploying.cdk import AssemblyError, check_settings
from mtrl.deploying.container import DefinitionError
from mtrl.deploying.job import ROLLOUTS, Counts
from mtrl.deploying.processes import told
from mtrl.deploying.run import Plan, Result, deploy_locally
from mtrl.rehearsing.jobs import JobFailed
from mtrl.rehearsing.processes import ProcessError

ROOT = Path(__file__).parents[2]
EMULATOR = Path(".venv-aws/bin/ministack")
CLI = Path(".node/node_modules/.bin/cdk")


def deploy_local(
    env: Annotated[
        str, typer.Option(help="The environment of cdk.json to deploy; it pins no account.")
    ] = "dev",
    target: Annotated[
        str, typer.Option(help="The target; the worker is a Fargate task's container.")
    ] = "fargate",
    adapter: Annotated[str, typer.Option(help="The adapter of cdk.json to deploy.")] = "sop",
    emulator: Annotated[
        Path | None, typer.Option(help=f"The emulator's program; default: {EMULATOR} of the checkout.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the assembly and the logs.")] = Path(
        "out/deploy-local"
    ),
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the emulator running, and print its URL.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")] = False,
) -> None:
    """Deploy onto an emulator of AWS, and run one training step of 64 rollouts through what was deployed."""
    plan = Plan(
        root=ROOT,
        program=(emulator or ROOT / EMULATOR).absolute(),
        out=out.absolute(),
        env=env,
        target=target,
        adapter=adapter,
        keep=keep,
    )
    _check(plan)
    make_folder(plan.out, plan.work.name)
    end_on_sigterm()
    result = Result()
    problems = _run(plan, result)
    if as_json:
        emit(
            {
                "stacks": list(result.stacks),
                "rollouts": ROLLOUTS,
                "completed": result.counts.completed,
                "seconds": round(result.elapsed, 2),
            }
        )
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)


def _check(plan: Plan) -> None:
    """What must be there before anything is started."""
    if not plan.program.is_file():
        fail(
            f"The emulator {plan.program} is missing. `make deploy-local` installs it, and runs this command."
        )
    if not (plan.root / CLI).exists():
        fail("The CDK command line is missing. `make deploy-local` installs it, and runs this command.")
    if plan.target != "fargate":
        fail(
            f"--target {plan.target!r} cannot be rehearsed here: only fargate declares a container to start."
        )
    try:
        check_settings(plan.root, plan.env, plan.target, plan.adapter)
    except AssemblyError as error:
        fail(str(error))


def _run(plan: Plan, result: Result) -> list[str]:
    """Why it was no success."""
    watch = Watch()
    try:
        deploy_locally(plan, watch, result)
    except (ProcessError, AssemblyError, DefinitionError, JobFailed, ValueError) as error:
        problems = [str(error), *(_tails(plan) if isinstance(error, JobFailed) else ())]
    else:
        _show(result)
        problems = result.problems()
        problems += _tails(plan) if problems else []
    if plan.keep and result.emulator:
        watch.says(
            f"The emulator goes on at {result.emulator.url}. It ends with: kill -- -{result.emulator.group}"
        )
    return problems


def _tails(plan: Plan) -> list[str]:
    """What the two that play a rollout said last."""
    return [told(plan.log("service")), told(plan.log("worker"))]


class Watch:
    """Lines on stderr: a phase when it ends, and what the stand-in counts while the job runs."""

    def __init__(self) -> None:
        self._shown = -1

    def begins(self, phase: str) -> None:
        self._shown = -1

    def says(self, sentence: str) -> None:
        progress.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def counts(self, counts: Counts) -> None:
        if counts.completed // 16 > self._shown:
            self._shown = counts.completed // 16
            self.says(f"  {counts.completed} of {ROLLOUTS} rollouts sealed and rewarded")


def _show(result: Result) -> None:
    table = Table(title=f"Deployed, and {result.counts.completed} of {ROLLOUTS} rollouts completed")
    table.add_column("")
    table.add_column("", justify="right")
    for stack, seconds in result.stacks.items():
        table.add_row(stack, f"{seconds:.2f} s")
    for name, count in (
        ("messages left in the queue", result.remains.queue),
        ("messages in the dead-letter queue", result.remains.dead_letters),
        ("ledger items", result.remains.ledger),
    ):
        table.add_row(name, str(count))
    table.add_row("in all", f"{result.elapsed:.0f} s")
    progress.print(table)

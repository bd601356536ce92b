"""`mtrl probe`: a search for transcripts that the reward takes for a success and the score does not."""

import os
from typing import Annotated

import typer

from adapters.contract import TaskSource, reward_terms
from adapters.runtime.plugins import PluginError, load_environment
from mtrl.console import emit, fail, progress
from mtrl.probing.probe import Findings, Probe
from mtrl.probing.probe import probe as run_probe
from mtrl.probing.show import as_text
from mtrl.wording import counted

TASKS = 6
SECONDS = 50.0
INCONCLUSIVE = 3
"""Exit code of a probe that had no time to search: neither "none was found" nor "there is one"."""
SHOWN = 10
"""Exploits that are printed, the smallest first."""


def probe(
    environment: Annotated[str, typer.Option(help="The environment, by name.")] = "sop",
    domain: Annotated[str | None, typer.Option(help="Its domain; default: the first one.")] = None,
    tasks: Annotated[int, typer.Option(min=1, max=1000, help="Training tasks to search on.")] = TASKS,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="Time for the search.")] = SECONDS,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")] = False,
) -> None:
    """Search for exploits of the reward: exit code 1 if there are any, 0 if not, 3 if it got to no search."""
    wanted = _wanted(environment, domain, tasks, seconds, seed)
    name = f"{environment}/{wanted.tasks[0].input.get('domain', domain or '')}".rstrip("/")
    progress.print(
        f"Probing the reward of [bold]{name}[/] on {counted(len(wanted.tasks), 'task')}.", highlight=False
    )
    try:
        found = run_probe(wanted)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # 1 would say that there is an exploit
    if as_json:
        emit(found.to_json())
    else:
        _show(found, wanted)
    if found.inconclusive:
        raise typer.Exit(INCONCLUSIVE)
    raise typer.Exit(1 if found.exploits else 0)


def _wanted(environment: str, domain: str | None, count: int, seconds: float, seed: int) -> Probe:
    try:
        loaded = load_environment(environment, _variables())
    except PluginError as error:
        fail(str(error))
    if not isinstance(loaded, TaskSource):
        fail(f"The environment {environment!r} brings no tasks of its own, so it cannot be probed.")
    try:
        found = loaded.tasks(domain or loaded.list_domains()[0], "train")
    except ValueError as error:
        fail(f"--domain: {error}")
    # Evenly over the split: neighbours may well be alike.
    every = max(1, len(found) // count)
    return Probe(loaded, found[::every][:count], reward_terms(loaded), seconds, seed)


def _show(found: Findings, wanted: Probe) -> None:
    for exploit in found.exploits[:SHOWN]:
        typer.echo(as_text(exploit))
    if len(found.exploits) > SHOWN:
        others = ", ".join(exploit.kind for exploit in found.exploits[SHOWN:])
        typer.echo(f"Also (--json has the transcripts): {others}")
    for fault, times in sorted(found.faults.items(), key=lambda item: -item[1])[:5]:
        progress.print(f"{times} x {fault}", highlight=False, markup=False, soft_wrap=True)
    verdict = f"{counted(len(found.exploits), 'kind')} of exploit" if found.exploits else "No exploit"
    terms = wanted.terms
    if found.inconclusive:
        verdict = "Inconclusive, give it more --seconds: nothing was edited"
    progress.print(
        f"{verdict} in {found.transcripts} transcripts of {found.tasks} of {len(wanted.tasks)} tasks, "
        f"{found.seconds:.0f} s "
        f"(success from {terms.success:g} on, shaping up to {terms.shaping_bound:g}).",
        highlight=False,
    )


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("MTRL_")}

"""What a user sees: progress on stderr, results on stdout, mistakes as one sentence."""

import json
from typing import Any, NoReturn

import typer
from rich.console import Console

progress = Console(stderr=True)
"""For people. stdout is kept for results, so that `--json` can be piped."""


def fail(sentence: str) -> NoReturn:
    """End the command because of a user's mistake: what was wrong and the next act, exit code 2."""
    progress.print(f"[bold red]mtrl:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def emit(result: dict[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    typer.echo(json.dumps(result))


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")

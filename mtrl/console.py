"""What a user sees: progress on stderr, results on stdout, mistakes as one sentence."""

import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

progress = Console(stderr=True, emoji=False)
"""For people. stdout is kept for results, so that `--json` can be piped. No emoji: `:secret:` is a part of an
ARN."""


def complain(sentence: str) -> None:
    """One sentence on what went wrong, as it is: nothing in it is markup."""
    progress.print(Text.assemble(("mtrl:", "bold red"), " ", sentence), soft_wrap=True)


def fail(sentence: str) -> NoReturn:
    """End the command because of a user's mistake: what was wrong and the next act, exit code 2."""
    complain(sentence)
    raise typer.Exit(2)


def make_folder(out: Path, work: str = "") -> None:
    """Make the folder of `--out`, and one to work in, or end the command with why there can be none."""
    try:
        (out / work).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--out {out}: {error.strerror}. Choose another folder.")


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process: by itself it would end at once, and leave child processes behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def emit(result: dict[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    typer.echo(json.dumps(result))

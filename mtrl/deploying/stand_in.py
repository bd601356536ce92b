"""The stand-in of the service. It invokes the function that a job names, at the emulator's Lambda API."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtrl.deploying.emulator import ACCOUNT, REGION, Emulator
from mtrl.deploying.processes import background
from mtrl.rehearsing.processes import child_environ, read_json_lines


@contextmanager
def stand_in(aws: Emulator, work: Path, log: Path) -> Iterator[str]:
    """Run `mtrl service` in the emulator's account; gives its URL.

    Raises:
        ProcessError: it did not start.
    """
    command = [sys.executable, "-m", "mtrl", "service", "--json", "--port", "0"]
    command += ["--state", str(work / "state"), "--account", ACCOUNT, "--region", REGION]
    command += ["--agent", f"lambda@{aws.url}"]
    environ = child_environ(aws.credentials())
    running = background(
        "stand-in", command, cwd=work, environ=environ, log=log, ready=lambda: bool(_endpoints(log))
    )
    with running:
        yield _endpoints(log)[0]


def _endpoints(log: Path) -> list[str]:
    return [str(line["endpoint"]) for line in read_json_lines(log) if "endpoint" in line]

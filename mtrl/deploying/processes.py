"""Child processes, each the leader of a group of its own, so that what it started ends with it.

Ctrl-C in a terminal then reaches this process alone, which ends the others in the right order.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mtrl.rehearsing.processes import START_SECONDS, ProcessError

STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL; the worker's last poll of the queue lasts 5 s."""
TAIL_LINES, LINE_CHARS = 12, 240

Child = subprocess.Popen[bytes]


def run(
    name: str, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], log: Path, seconds: float
) -> None:
    """Run a command to its end, its output added to `log`.

    Raises:
        ProcessError: it failed or took too long; the message holds the end of its log.
    """
    process = _start(command, cwd, environ, log)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise ProcessError(f"{name} took longer than {seconds:g} s. {told(log)}") from None
    finally:
        _kill_group(process)
    if status:
        raise ProcessError(f"{name} failed (exit {status}). {told(log)}")


@contextmanager
def background(
    name: str,
    command: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    log: Path,
    ready: Callable[[], bool],
    keep: bool = False,
) -> Iterator[Child]:
    """Run a process until the context is left; entered when `ready` says so.

    With `keep` it is left running, unless it never got ready or the user broke off.

    Raises:
        ProcessError: it ended, or was not ready in time.
    """
    process, leave = _start(command, cwd, environ, log), False
    try:
        _wait_until_ready(name, process, log, ready)
        leave = keep
        yield process
    except (KeyboardInterrupt, SystemExit):
        leave = False
        raise
    finally:
        if not leave:
            stop(process)


def stop(process: Child) -> int:
    """SIGTERM, then SIGKILL for what is left of its group; the exit status."""
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        _kill_group(process)
    return process.wait()


def told(log: Path) -> str:
    """Where a log is, and its last lines."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n  ".join([f"Log: {log}", *(line[:LINE_CHARS] for line in lines[-TAIL_LINES:] if line.strip())])


def _start(command: Sequence[str], cwd: Path, environ: Mapping[str, str], log: Path) -> Child:
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - commands of ours, and the container's own
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_ready(name: str, process: Child, log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise ProcessError(f"The {name} ended at its start (exit {process.returncode}). {told(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"The {name} was not ready within {START_SECONDS:g} s. {told(log)}")
        time.sleep(0.05)


def _kill_group(process: Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

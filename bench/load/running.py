"""Starts an adapter as a process of its own, on a core of its own where there are two, and ends it."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import meter
from bench.load.candidates import ROOT, Candidate, environ
from bench.load.environment import register
from mtrl.rehearsing.processes import free_port

START_SECONDS = 120.0
SETTLE_SECONDS = 1.0
POLL_SECONDS = 0.005
PING = b"GET /ping HTTP/1.1\r\nHost: adapter\r\nConnection: close\r\n\r\n"


class DidNotStart(RuntimeError):
    """The process ended, or did not answer /ping; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """An adapter that answers."""

    url: str
    pid: int
    startup: float
    """Seconds from the start of the process to its first answer to /ping."""
    idle_mb: float


def cores() -> tuple[set[int], set[int]]:
    """The adapter's cores and ours: apart where there are two."""
    available = sorted(os.sched_getaffinity(0))
    return ({available[0]}, set(available[1:])) if len(available) > 1 else ({available[0]}, {available[0]})


@asynccontextmanager
async def running(candidate: Candidate, endpoint: str, folder: Path, places: int) -> AsyncIterator[Running]:
    """Start a candidate and give it when it serves.

    Raises:
        DidNotStart: it does not.
    """
    port, log = free_port(), folder / f"{candidate.adapter}.log"
    variables = environ(candidate, port, endpoint, register(folder / "plugins"), places)
    began = time.monotonic()
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *candidate.command(),
            cwd=folder,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    os.sched_setaffinity(process.pid, cores()[0])
    try:
        startup = await _first_ping(process, port, log, began)
        await asyncio.sleep(SETTLE_SECONDS)
        yield Running(f"http://127.0.0.1:{port}", process.pid, startup, meter.memory_mb(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _first_ping(process: asyncio.subprocess.Process, port: int, log: Path, began: float) -> float:
    while time.monotonic() < began + START_SECONDS and process.returncode is None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(PING)
                if b" 200 " in await reader.readline():
                    return time.monotonic() - began
            finally:
                writer.close()
        await asyncio.sleep(POLL_SECONDS)
    raise DidNotStart(f"{' '.join(process_name(log))} did not answer /ping: {tail(log)}")


def process_name(log: Path) -> list[str]:
    return [log.stem, f"(log: {log.relative_to(ROOT) if log.is_relative_to(ROOT) else log})"]


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-800:] or "it printed nothing"

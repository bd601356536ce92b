"""The workers under attack: real processes of the queue entrypoint, each behind a relay of its own."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.chaos_kit.wire import Claimant, Record, Wire
from mtrl.rehearsing.processes import ProcessError, read_json_lines

START_SECONDS = 60.0
EXIT_SECONDS = 150.0
"""Longer than the drain grace of a worker: one that outlasts it is killed, and reported."""


class Worker:
    """One place for a worker. What is started there after an exit is another life, with a log of its own."""

    def __init__(
        self,
        wire: Wire,
        record: Record,
        place: int,
        code: Path,
        environ: Mapping[str, str],
        folder: Path,
        plugins: Sequence[str] = (),
    ) -> None:
        self.place = place
        self.lives = 0
        self.logs: list[Path] = []
        self.startup = 0.0
        self.overran = 0
        self._wire = wire
        self._record = record
        self.code = code
        """The folder whose adapters the next life runs."""
        self._environ = {**environ, "MTRL_JOB_RUNTIME_ENDPOINT": wire.url}
        self._folder = folder
        self._plugins = plugins
        self._process: asyncio.subprocess.Process | None = None

    @property
    def who(self) -> Claimant:
        return (self.place, self.lives)

    @property
    def in_flight(self) -> int:
        return self._record.in_flight(self.who)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start a process, and wait until it serves. Raises ProcessError."""
        began = time.monotonic()
        self.lives += 1
        self._wire.who = self.who
        log = self._folder / f"worker-{self.place}-{self.lives:03d}.log"
        self.logs.append(log)
        with log.open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "adapters.entrypoints.queue",
                cwd=self.code,
                env=self._environ | {"PYTHONPATH": os.pathsep.join((str(self.code), *self._plugins))},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        while not any(line.get("event") == "started" for line in read_json_lines(log)):
            if self._process.returncode is not None or time.monotonic() > began + START_SECONDS:
                raise ProcessError(f"worker {self.who} did not start: {log.read_text()[-800:]}")
            await asyncio.sleep(0.05)
        self.startup = time.monotonic() - began

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal the process and wait for its end."""
        if self._process is None:
            return
        self.send(number)
        try:
            await asyncio.wait_for(self._process.wait(), EXIT_SECONDS)
        except TimeoutError:
            self.overran += 1
            self.kill()
            await self._process.wait()
        self._record.died(self.who)

    async def restart(self, number: signal.Signals) -> None:
        await self.stop(number)
        await self.start()

    def kill(self) -> None:
        """End the process's group at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

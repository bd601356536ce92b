"""The processes that run a Lambda handler file: a pool, one call at a time in each.

A worker runs `forwarder_process.py`, where the protocol is described, by its path: the handler sees
neither this package nor the working directory.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

_LINE_LIMIT = 32 * 1024 * 1024
"""Lambda's own limit for an answer is 6 MiB."""
_WORKER = Path(__file__).with_name("forwarder_process.py")


class HandlerFailed(Exception):
    """The handler raised, could not be loaded, or its answer is no JSON."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class WorkerGone(Exception):
    """The process ended in the middle of a call."""


class ForwarderPool:
    """At most `workers` processes, started when first needed, replaced when they die."""

    def __init__(self, path: Path, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"a forwarder needs at least 1 worker, not {workers}.")
        self._path = path
        self._places = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    async def call(self, event: dict[str, Any], seconds: float) -> Any:
        """The handler's answer to one event; cancelling the call kills its process.

        Raises:
            HandlerFailed, WorkerGone
        """
        async with self._places:
            if self._closed:
                raise WorkerGone("the forwarder is closed.")
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                answer = await worker.call(event, seconds)
            except HandlerFailed:
                await self._put_back(worker)
                raise
            except BaseException:
                await self._drop(worker)
                raise
            await self._put_back(worker)
            return answer

    async def close(self) -> None:
        """End every process, calls in flight included."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(self._drop(worker) for worker in list(self._all)))

    async def _start(self) -> "_Worker":
        worker = await _Worker.start(self._path)
        self._all.add(worker)
        return worker

    async def _put_back(self, worker: "_Worker") -> None:
        if worker in self._all and worker.alive:
            self._idle.append(worker)
        else:
            await self._drop(worker)

    async def _drop(self, worker: "_Worker") -> None:
        self._all.discard(worker)
        await asyncio.shield(worker.kill())


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._broken = False

    @classmethod
    async def start(cls, path: Path) -> "_Worker":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # not this folder: its modules would shadow the handler's
            "-u",  # what the handler prints is seen also when it is killed
            str(_WORKER),
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            # Its own process group, so that what the handler starts dies with it.
            start_new_session=True,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._broken

    async def call(self, event: dict[str, Any], seconds: float) -> Any:
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        request = {"id": uuid.uuid4().hex, "event": event, "timeout": seconds}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except (ConnectionError, ValueError) as error:
            raise WorkerGone(f"the handler's process is gone: {error}") from None
        if not line.endswith(b"\n"):
            status = await self._process.wait()
            raise WorkerGone(f"the handler's process ended with status {status} during the call.")
        return self._read(line, request["id"])

    def _read(self, line: bytes, request_id: object) -> Any:
        try:
            reply = json.loads(line)
            echoed = reply["id"]
        except (ValueError, TypeError, KeyError):
            raise WorkerGone(f"the handler wrote into the protocol: {line[:80]!r}") from None
        if "fatal" in reply:
            self._broken = True
            raise HandlerFailed(f"cannot be loaded: {reply['fatal']}", retryable=False)
        if echoed != request_id:
            raise WorkerGone("the handler's process answered another request.")
        if "error" in reply:
            raise HandlerFailed(reply["error"], retryable=bool(reply["retryable"]))
        return reply["answer"]

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()

"""A real adapter process on the fake environment, and calls to it."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from mtrl.rehearsing.processes import child_environ, read_json_lines
from tests.runtime.kit import ACCOUNT

START_SECONDS = 60.0
SECRET = "wJalrXUtnFEMI-not-to-be-seen"


def plugins(folder: Path) -> str:
    """A PYTHONPATH entry that registers the fake environment under two names, by metadata alone."""
    metadata = folder / "mtrl_fakes-0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mtrl-fakes\nVersion: 0\n")
    names = "".join(f"{name} = adapters.runtime.fakes:create\n" for name in ("fake", "renamed"))
    (metadata / "entry_points.txt").write_text(f"[mtrl.environments]\n{names}")
    return str(folder)


def environ(folder: Path, endpoint: str, **extra: str) -> dict[str, str]:
    return child_environ(
        {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "PYTHONPATH": plugins(folder / "plugins"),
            "MTRL_ENVIRONMENT": "fake",
            "MTRL_JOB_RUNTIME_ENDPOINT": endpoint,
            "MTRL_ACCOUNT_ID": ACCOUNT,
            "HOST": "127.0.0.1",
            "PORT": "0",
            **extra,
        }
    )


async def start(variables: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "adapters.entrypoints.http", env=dict(variables), stdout=out, stderr=out
        )


@dataclass
class Served:
    url: str
    process: asyncio.subprocess.Process
    log: Path
    client: aiohttp.ClientSession

    async def post(self, payload: object, path: str = "/invocations") -> tuple[int, dict[str, Any]]:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        async with self.client.post(self.url + path, data=io.BytesIO(data)) as answer:
            return answer.status, json.loads(await answer.read())

    async def ping(self) -> str:
        async with self.client.get(self.url + "/ping") as answer:
            return str((await answer.json())["status"])

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in read_json_lines(self.log) if line.get("event") == event]

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait until the process has written an event."""
        async with asyncio.timeout(START_SECONDS):
            while not self.events(event):
                assert self.process.returncode is None or self.events(event), self.log.read_text()
                await asyncio.sleep(0.02)
        return self.events(event)[0]

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), START_SECONDS)


@asynccontextmanager
async def adapter_process(folder: Path, endpoint: str, **extra: str) -> AsyncIterator[Served]:
    log = folder / "adapter.log"
    process = await start(environ(folder, endpoint, **extra), log)
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as client:
            served = Served("", process, log, client)
            served.url = f"http://127.0.0.1:{(await served.logged('started'))['port']}"
            yield served
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        assert SECRET not in log.read_text(), "a secret was logged"
        assert "sagemaker-api-key-" not in log.read_text(), "a token was logged"


async def refused(variables: Mapping[str, str], log: Path) -> tuple[int, str]:
    """Start a process that must not start; its exit code and what it said."""
    process = await start(variables, log)
    try:
        code = await asyncio.wait_for(process.wait(), START_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    return code, log.read_text()  # noqa: ASYNC240 - the process has ended

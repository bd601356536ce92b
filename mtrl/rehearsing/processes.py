"""The two processes of a rehearsal: the stand-in of the service, and a real adapter."""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rehearsal.service.options import ACCOUNT, REGION

GUARD = Path(__file__).with_name("guard.py")
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class ProcessError(RuntimeError):
    """A process of the rehearsal did not start, or died; the message holds the end of its log."""


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rehearsal_credentials() -> dict[str, str]:
    """Credentials that mean nothing, so that no real ones are read, let alone sent."""
    return {
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def child_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without any AWS setting, with rehearsal credentials and `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MTRL_"))}
    return {**kept, **rehearsal_credentials(), **extra}


@contextmanager
def adapter(
    environment: str, endpoint: str, folder: Path, extra: Mapping[str, str], log: Path
) -> Iterator[str]:
    """A real adapter process on the HTTP entrypoint; gives its URL."""
    environ = child_environ(
        {
            **extra,
            "MTRL_ENVIRONMENT": environment,
            "MTRL_JOB_RUNTIME_ENDPOINT": endpoint,
            "MTRL_ACCOUNT_ID": ACCOUNT,
            "MTRL_ARCHIVE_DIR": str(folder),
            "MTRL_MAX_CONCURRENCY": "128",
            # When a rehearsal is broken off, its service goes first: nothing is left to drain for.
            "MTRL_DRAIN_SECONDS": "2",
            "HOST": "127.0.0.1",
            "PORT": "0",
        }
    )
    command = [sys.executable, "-m", "adapters.entrypoints.http"]
    with _process("adapter", command, environ, log, _adapter_url) as url:
        yield url


@contextmanager
def service(
    port: int,
    agent: str,
    state: Path,
    options: list[str],
    log: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The stand-in of the service; gives its URL. `environ` replaces `child_environ({})`."""
    command = [sys.executable, "-m", "mtrl", "service", "--json", "--port", str(port)]
    command += ["--agent", agent, "--state", str(state), *options]
    with _process("service", command, environ or child_environ({}), log, _service_url) as url:
        yield url


@contextmanager
def local_loop(
    environment: str,
    folder: Path,
    options: list[str],
    *,
    adapter_environ: Mapping[str, str],
    logs: Path,
    archive: Path,
    port: int = 0,
    service_environ: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Adapter and service, each knowing the other; gives the service's URL.

    The adapter first, since the service must know its URL; so the service's port is chosen before.
    """
    port = port or free_port()
    endpoint, log = f"http://127.0.0.1:{port}", folder / "service.log"
    with (
        adapter(environment, endpoint, archive, adapter_environ, logs) as url,
        service(port, url, folder / "state", options, log, service_environ) as served,
    ):
        yield served


@contextmanager
def _process(
    name: str,
    command: list[str],
    environ: Mapping[str, str],
    log: Path,
    ready: Callable[[Mapping[str, Any]], str | None],
) -> Iterator[str]:
    """Run a process until the context is left; gives what `ready` finds in its first JSON lines.

    Its output goes to `log`. Reading it back from there keeps no pipe that could fill up.
    """
    command = [sys.executable, "-I", str(GUARD), *command]
    with log.open("wb") as out:
        # A session of its own: Ctrl-C is for us alone, and we end the processes in the right order.
        process = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _wait_until_ready(name, process, log, ready)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait_until_ready(
    name: str,
    process: "subprocess.Popen[bytes]",
    log: Path,
    ready: Callable[[Mapping[str, Any]], str | None],
) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for line in read_json_lines(log):
            found = ready(line)
            if found is not None:
                return found
        if process.poll() is not None:
            raise ProcessError(f"The {name} ended at its start (exit {process.returncode}): {_tail(log)}")
        select.select([], [], [], 0.05)
    raise ProcessError(f"The {name} was not ready within {START_SECONDS:g} s. Its log: {log}")


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a log, a line each; other lines, and a last half-written one, are passed over."""
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b"{") and line.endswith(b"}\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _adapter_url(line: Mapping[str, Any]) -> str | None:
    return f"http://127.0.0.1:{line['port']}" if line.get("event") == "started" else None


def _service_url(line: Mapping[str, Any]) -> str | None:
    endpoint = line.get("endpoint")
    return endpoint if isinstance(endpoint, str) else None


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-800:] or "it printed nothing"

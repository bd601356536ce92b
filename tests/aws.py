"""An AWS emulator for tests: ministack, in a process and an environment of its own (`make` builds it)."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

REGION = "us-west-2"
START_SECONDS = 60.0
PROGRAM = Path(__file__).parents[1] / ".venv-aws/bin/ministack"


@contextmanager
def ministack(log: Path) -> Iterator[str]:
    """Run the emulator on a free loopback port; gives its URL."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: run the tests by `make test`"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ = {**kept, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with log.open("wb") as out:
        process = subprocess.Popen([PROGRAM], env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def client(service: str, url: str) -> Any:
    """A boto3 client of the emulator."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client("sqs", url).list_queues()
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"ministack did not start: {log}"
        else:
            return

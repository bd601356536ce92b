"""The adapter worker: started from the container definition, and from nothing else but what a laptop needs.

Its code is the folder that the image would be built from, so what packaging left out is missing here too.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mtrl.deploying.container import Container
from mtrl.deploying.emulator import Emulator
from mtrl.deploying.processes import Child, background
from mtrl.rehearsing.processes import read_json_lines


@dataclass(frozen=True, slots=True)
class Overrides:
    """What is different from the container definition."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    reasons: Mapping[str, str]
    """What is said of each change."""


def overrides(container: Container, aws: Emulator, endpoint: str, work: Path) -> Overrides:
    """The changes that this machine needs, each with its reason."""
    changes = {
        "AWS_ENDPOINT_URL": (aws.url, "SQS, DynamoDB and S3 are the emulator's"),
        "MTRL_JOB_RUNTIME_ENDPOINT": (endpoint, "the Job Runtime is the stand-in's"),
        "MTRL_HEALTH_FILE": (str(work / "alive"), "the container's /tmp is not this machine's"),
        **{name: (value, "there is no task role") for name, value in aws.credentials().items()},
        **dict.fromkeys(CREDENTIAL_FILES, (os.devnull, "no real credentials are read")),
        "PYTHONPATH": (str(container.code), "the code that the image holds in /app"),
        "PYTHONDONTWRITEBYTECODE": ("1", "as in the image"),
        "PATH": (os.environ.get("PATH", os.defpath), "this machine's programs"),
    }
    program, *rest = container.command
    reasons = {name: reason for name, (_, reason) in changes.items()}
    if program == "python":
        program = sys.executable
        reasons["python"] = "this machine's, with its packages"
    environ = {**container.environ, **{name: value for name, (value, _) in changes.items()}}
    return Overrides((program, *rest), environ, reasons)


CREDENTIAL_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")


@contextmanager
def worker(container: Container, changes: Overrides, log: Path) -> Iterator[Child]:
    """Run the worker until the context is left.

    Raises:
        ProcessError: it did not start.
    """
    running = background(
        "worker",
        changes.command,
        cwd=container.code,
        environ=changes.environ,
        log=log,
        ready=lambda: any(line.get("event") == "started" for line in read_json_lines(log)),
    )
    with running as process:
        yield process

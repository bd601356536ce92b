"""One command at a time in an output folder: each would delete or overwrite what the other is writing."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtrl.rehearsing.plan import PlanError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other commands out. Raises PlanError if one is in, or the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PlanError(f"--out {folder}: {error.strerror}. Choose another folder.") from None
    try:
        _take(lock, folder)
        yield
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = f"Another command is at work in {folder}. Wait for it, or choose another --out."
        raise PlanError(text) from None

"""On PYTHONPATH, makes any Python process say where its main thread is, every 5 ms of its CPU time.

By a signal: a thread that looks finds the main thread mostly where that lets go of the interpreter's lock.
Counts go to the folder MTRLBENCH_SAMPLES names, by process id, once a second, so that a kill loses little.
"""

import atexit
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

SECONDS = 0.005

ROOT = str(Path(__file__).parents[2]) + os.sep


def _where(frame: FrameType) -> str:
    """The project's file that is at work, by itself or in what it called; else the innermost file.

    In a wait for events it is another thread that works.
    """
    if frame.f_code.co_filename.endswith("selectors.py"):
        return "other threads"
    caller: FrameType | None = frame
    while caller is not None and not caller.f_code.co_filename.endswith("base_events.py"):
        file = caller.f_code.co_filename
        if file.startswith(ROOT) and "site-packages" not in file:
            return file
        caller = caller.f_back
    return frame.f_code.co_filename  # the event loop's own work, or that of the libraries it runs


def _watch(folder: Path) -> None:
    counts: Counter[str] = Counter()
    path, written = folder / f"{os.getpid()}.json", time.monotonic()

    def write() -> None:
        path.write_text(json.dumps({"argv": sys.orig_argv, "counts": counts}))

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal written
        if frame is not None:
            counts[_where(frame)] += 1
        if time.monotonic() - written > 1.0:
            written = time.monotonic()
            write()

    def end() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)  # after the interpreter, the signal would kill
        write()

    atexit.register(end)
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)


if "MTRLBENCH_SAMPLES" in os.environ:
    _watch(Path(os.environ["MTRLBENCH_SAMPLES"]))

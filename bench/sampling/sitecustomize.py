"""On PYTHONPATH, makes any Python process look at its own main thread every 5 ms, and say where it was.

Counts go to the folder MTRLBENCH_SAMPLES names, by process id, once a second, so that a kill loses little.
"""

import atexit
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

SECONDS = 0.005

ROOT = str(Path(__file__).parents[2]) + os.sep


def _where(frame: FrameType) -> str:
    """The project's file that is at work, by itself or in what it called; else the innermost file.

    A wait for events is idleness.
    """
    if frame.f_code.co_filename.endswith("selectors.py"):
        return "idle"
    caller: FrameType | None = frame
    while caller is not None and not caller.f_code.co_filename.endswith("base_events.py"):
        file = caller.f_code.co_filename
        if file.startswith(ROOT) and "site-packages" not in file:
            return file
        caller = caller.f_back
    return frame.f_code.co_filename  # the event loop's own work, or that of the libraries it runs


def _watch(folder: Path, main: int) -> None:
    counts: Counter[str] = Counter()
    path, written = folder / f"{os.getpid()}.json", time.monotonic()

    def write() -> None:
        path.write_text(json.dumps({"argv": sys.orig_argv, "counts": counts}))

    atexit.register(write)
    while True:
        time.sleep(SECONDS)
        frame = sys._current_frames().get(main)
        if frame is not None:
            counts[_where(frame)] += 1
        if time.monotonic() - written > 1.0:
            written = time.monotonic()
            write()


if "MTRLBENCH_SAMPLES" in os.environ:
    threading.Thread(
        target=_watch, args=(Path(os.environ["MTRLBENCH_SAMPLES"]), threading.get_ident()), daemon=True
    ).start()

"""Runs a command that must not outlive the command line, however that ends: `guard.py COMMAND…`.

Standard input is a pipe whose other end only the starter holds. When the starter dies, by SIGKILL too, the
pipe ends, and so does the command. Run as a file: it needs the standard library alone, and starts quickly.
"""

import signal
import subprocess
import sys
import threading
from typing import Any

KILL_SECONDS = 15.0
"""Less than the starter waits for us."""


def main() -> int:
    """Run the command; its exit code, or 128 + the signal that ended it."""
    ending = threading.Event()

    def asked(*_: Any) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, asked)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 - our own command
    threading.Thread(target=_until_the_starter_is_gone, args=(ending,), daemon=True).start()
    threading.Thread(target=_end, args=(child, ending), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _until_the_starter_is_gone(ending: threading.Event) -> None:
    sys.stdin.buffer.read()
    ending.set()


def _end(child: "subprocess.Popen[bytes]", ending: threading.Event) -> None:
    ending.wait()
    child.terminate()
    try:
        child.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())

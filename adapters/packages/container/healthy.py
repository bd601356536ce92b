"""The health probe of a container or an instance: exit code 0 if the adapter in it is well.

    python /app/healthy.py [SECONDS]

With MTRL_HEALTH_FILE, the queue worker's sign of life must be younger than SECONDS (default 120: a worker
that cannot reach the queue still shows life, after its retries). Without, /ping must answer on PORT.
Standard library only, and little of it, because a probe runs often on a small share of a CPU.
"""

import os
import sys
import time

DEFAULT_SECONDS = 120.0
PING_TIMEOUT_SECONDS = 4.0


def problem(seconds: float) -> str | None:
    """What is wrong, or None."""
    file = os.environ.get("MTRL_HEALTH_FILE")
    return _stale(file, seconds) if file else _silent(int(os.environ.get("PORT") or 8080))


def _stale(file: str, seconds: float) -> str | None:
    try:
        age = time.time() - os.stat(file).st_mtime
    except OSError as error:
        return f"{file}: {error.strerror}"
    return None if age <= seconds else f"{file}: no sign of life for {age:.0f} s"


def _silent(port: int) -> str | None:
    from http.client import HTTPConnection, HTTPException  # the queue worker's probe does not pay for it

    connection = HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/ping")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"/ping on port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"/ping on port {port}: status {status}"


if __name__ == "__main__":
    sys.exit(problem(float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS))

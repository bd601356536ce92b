"""The real forwarder handler, behaving badly for a share of its calls. It runs as a Lambda would.

CHAOS_TWICE: the share of calls in which the handler is invoked twice.
CHAOS_SAYS_FAILED: the share in which it enqueues, and then answers that it failed: the service tries again.
"""

import importlib.util
import os
import random
from pathlib import Path
from typing import Any

HANDLER = Path(__file__).parents[2] / "lambda/forwarder/handler.py"
TWICE = float(os.environ.get("CHAOS_TWICE", "0"))
SAYS_FAILED = float(os.environ.get("CHAOS_SAYS_FAILED", "0"))


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("forwarder_handler", HANDLER)
    assert spec is not None  # noqa: S101 - a .py file has one
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


_handler = _load()


def handler(event: Any, context: object) -> dict[str, str]:
    """Forward a request; the workers reach the service through relays, so its own URL is left out."""
    event["metadata"].pop("endpoint", None)
    answer: dict[str, str] = _handler(event, context)
    if random.random() < TWICE:  # noqa: S311 - decides faults, not secrets
        _handler(event, context)
    if random.random() < SAYS_FAILED:  # noqa: S311
        return {
            "errorType": "InternalServerError",
            "errorMessage": "injected, after the request was enqueued",
        }
    return answer

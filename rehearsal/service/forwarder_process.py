"""One worker: a Lambda handler file, called once for each line on stdin. Stdlib only.

    python -P -u forwarder_process.py PATH

A request is a line `{"id", "event", "timeout"}`; the reply is a line with the same id and `answer`, or
`error` and `retryable`. A file that cannot be loaded is reported as `fatal` to the first request, after
which the process ends. What the handler prints goes to stderr.
"""

import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("handler", "lambda_handler")
Handler = Callable[[Any, Any], Any]


class Context:
    """The part of Lambda's context object that handlers use."""

    memory_limit_in_mb = "512"
    function_version = "$LATEST"
    log_group_name = "/aws/lambda/rehearsal"
    log_stream_name = "rehearsal"

    def __init__(self, request_id: str, seconds: float) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "rehearsal-forwarder")
        region = os.environ.get("AWS_REGION", "us-west-2")
        self.invoked_function_arn = f"arn:aws:lambda:{region}:000000000000:function:{self.function_name}"
        self._deadline = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def load(path: Path) -> Handler:
    """The handler of a file, with the file's folder importable, as in Lambda.

    Raises:
        ImportError: no such file, or neither name in it; whatever the file itself raises.
    """
    if not path.is_file():
        raise ImportError(f"{path} is no file")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    for name in NAMES:
        found = getattr(module, name, None)
        if callable(found):
            handler: Handler = found
            return handler
    raise ImportError(f"{path} has neither of: {', '.join(NAMES)}")


def main(path: str) -> int:
    requests, replies = _take_stdio()
    handler: Handler | None = None
    fatal = ""
    try:
        handler = load(Path(path).resolve())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - anything that the file raises
        traceback.print_exc()
        fatal = f"{type(error).__name__}: {error}"
    for line in requests:
        request = json.loads(line)
        reply = {"fatal": fatal} if handler is None else _call(handler, request)
        replies.write(json.dumps({"id": request["id"], **reply}).encode() + b"\n")
        replies.flush()
        if handler is None:
            return 1
    return 0


def _call(handler: Handler, request: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = handler(request["event"], Context(request["id"], request["timeout"]))
    except Exception as error:  # noqa: BLE001 - Lambda reports whatever was raised
        traceback.print_exc()
        return {"error": f"the handler raised {type(error).__name__}: {error}"[:500], "retryable": True}
    try:
        # Lambda takes no NaN either: the answer must be JSON.
        json.dumps(answer, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return {"error": f"the handler's answer is not JSON: {error}"[:500], "retryable": False}
    return {"answer": answer}


def _take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's own pipes; fd 0 becomes empty and fd 1 stderr, for the handler and its children."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

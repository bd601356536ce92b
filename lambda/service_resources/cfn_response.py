"""How a custom resource answers CloudFormation: one answer to every request, whatever happens.

CloudFormation waits an hour for an answer that never comes, and a stack that waits can be neither updated nor
deleted. So `serve` answers also when the work raises, and, shortly before Lambda would kill the function, in
the place of work that has not ended.

The answer is an HTTP PUT to the pre-signed URL in the request. That URL is a credential: it is never logged.
When the PUT itself fails, `serve` raises; Lambda then runs the same request again, which the work must bear.
"""

import hashlib
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

MAX_RESPONSE_BYTES = 4096
"""CloudFormation refuses a longer answer, and then waits as if there had been none."""
MAX_TEXT = 1000
ANSWER_SECONDS = 10.0
"""What is kept of the function's time for the answer itself; of a short time, half."""
PUT_ATTEMPTS = 3
PUT_SECONDS = 3.0


class Context(Protocol):
    """What is needed of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


class Failed(Exception):
    """The resource cannot be what its properties ask for; the text tells the user why."""


class OutOfTime(BaseException):
    """The work has not ended in time. No `Exception`: botocore would take that for a network fault."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What CloudFormation asks for."""

    kind: str
    properties: Mapping[str, Any]
    old_properties: Mapping[str, Any]
    stack_id: str
    logical_id: str
    physical_id: str
    """On Create the resource's name if it has one, else one derived from stack and logical id: a request that
    is run twice gets the same one, and what was half made is found again by the Delete of the rollback."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the work came to."""

    physical_id: str
    data: Mapping[str, str] = field(default_factory=dict)


def serve(
    event: Mapping[str, Any], context: Context, work: Callable[[Request], Result], *, named_by: str = ""
) -> None:
    """Do the work of one request and answer it; `named_by` is the property that holds the physical id."""
    request = _request(event, named_by)
    try:
        with _time_limit(context):
            result = _work(request, work)
    except OutOfTime:
        body = _failure(event, request, "the function ran out of time; its log says how far it came")
    except Failed as error:
        body = _failure(event, request, str(error))
    except Exception as error:  # noqa: BLE001 - an unanswered request blocks the stack for an hour
        body = _failure(event, request, f"{type(error).__name__}: {error}")
    else:
        body = _success(event, request, result)
    _put(event["ResponseURL"], body)


def strings(properties: Mapping[str, Any], name: str) -> list[str]:
    """A property that is a list of non-empty strings; absent means none."""
    value = properties.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Failed(f"{name}: must be a list of non-empty strings")
    return value


def flag(properties: Mapping[str, Any], name: str) -> bool:
    """A property that is true or false. CloudFormation hands every scalar over as text."""
    value = str(properties.get(name, "false")).lower()
    if value not in ("true", "false"):
        raise Failed(f"{name}: must be true or false, not {value!r}")
    return value == "true"


def log(event: str, **values: object) -> None:
    """One JSON line; values that say nothing are left out."""
    sys.stdout.write(json.dumps({"event": event, **{k: v for k, v in values.items() if v}}) + "\n")


def _request(event: Mapping[str, Any], named_by: str) -> Request:
    properties = event.get("ResourceProperties") or {}
    stack_id, logical_id = str(event["StackId"]), str(event["LogicalResourceId"])
    digest = hashlib.sha256(f"{stack_id}/{logical_id}".encode()).hexdigest()
    return Request(
        kind=str(event["RequestType"]),
        properties=properties,
        old_properties=event.get("OldResourceProperties") or {},
        stack_id=stack_id,
        logical_id=logical_id,
        physical_id=str(
            event.get("PhysicalResourceId")
            or properties.get(named_by)
            # No name that AWS takes has a colon: this one is nobody's.
            or f"mtrl:{logical_id}:{digest[:16]}"
        ),
    )


def _work(request: Request, work: Callable[[Request], Result]) -> Result:
    if request.kind not in ("Create", "Update", "Delete"):
        raise Failed(f"RequestType: {request.kind!r} is none of Create, Update, Delete")
    return work(request)


@contextmanager
def _time_limit(context: Context) -> Iterator[None]:
    """Raise OutOfTime in this thread while there is still time to answer.

    A signal and not a second thread: a thread that is left behind would go on in Lambda's next invocation.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise OutOfTime

    remaining = context.get_remaining_time_in_millis() / 1000
    previous = signal.signal(signal.SIGALRM, stop)
    # Zero would mean no limit.
    signal.setitimer(signal.ITIMER_REAL, max(remaining - ANSWER_SECONDS, remaining / 2, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _success(event: Mapping[str, Any], request: Request, result: Result) -> bytes:
    body = _body(event, "SUCCESS", result.physical_id, result.data, "see the function's log")
    if len(body) > MAX_RESPONSE_BYTES:
        return _failure(event, request, f"the answer would have {len(body)} bytes")
    log("done", request=request.kind, resource=result.physical_id, **result.data)
    return body


def _failure(event: Mapping[str, Any], request: Request, reason: str) -> bytes:
    log("failed", request=request.kind, resource=request.physical_id, reason=reason)
    # As ASCII, because an escape is six bytes of the few that an answer may have.
    plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in reason)
    return _body(event, "FAILED", request.physical_id, {}, plain[:MAX_TEXT])


def _body(
    event: Mapping[str, Any], status: str, physical_id: str, data: Mapping[str, str], reason: str
) -> bytes:
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    return json.dumps(
        {"Status": status, "Reason": reason, "PhysicalResourceId": physical_id, "Data": dict(data), **same}
    ).encode()


def _put(url: str, body: bytes) -> None:
    # The URL was signed for an empty content type, and urllib would send one of its own.
    request = urllib.request.Request(url, body, {"Content-Type": ""}, method="PUT")  # noqa: S310 - from AWS
    for attempt in range(1, PUT_ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=PUT_SECONDS):  # noqa: S310 - from AWS
                return
        except (urllib.error.URLError, OSError) as error:
            log("not_answered", attempt=attempt, error=str(error))
            if attempt == PUT_ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)

"""What stands around a custom resource in tests: CloudFormation's end of it, and AWS APIs over real HTTP.

`CloudFormation` sends requests to a handler and takes its answer, a PUT to a "pre-signed" URL, by a real
server. `json_api` is a real server that speaks AWS JSON 1.1 and holds what it is told against botocore's own
model of the service; what it answers is up to the test.
"""

import functools
import importlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

FOLDER = Path(__file__).parents[2] / "lambda/service_resources"
STACK = "arn:aws:cloudformation:us-west-2:111122223333:stack/dev-Customization/6f3c"
SECRET = "X-Amz-Signature=5ecret"
Operation = Callable[[str, dict[str, Any]], Mapping[str, Any]]


class Fault(Exception):
    """An error that an API answers with."""

    def __init__(self, code: str, message: str = "no") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Context:
    """Lambda's context, as far as the functions use it."""

    remaining: float = 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining * 1000)


@dataclass
class CloudFormation:
    """Sends requests, and has the answers that came."""

    url: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refusals: int = 0

    def ask(
        self, module: ModuleType, kind: str, properties: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        """One request; gives its one answer. `more` replaces members of the event."""
        remaining = more.pop("remaining", 60.0)
        before = len(self.answers)
        event = {
            "RequestType": kind,
            "ResponseURL": f"{self.url}/answer?{SECRET}",
            "StackId": STACK,
            "RequestId": f"request-{before}",
            "LogicalResourceId": "Thing",
            "ResourceType": "Custom::Thing",
            "ResourceProperties": {"ServiceToken": "arn:aws:lambda:::function:x", **properties},
            **more,
        }
        assert module.handler(event, Context(remaining)) is None
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0, "the limit would strike a later request"
        assert len(self.answers) == before + 1, "CloudFormation wants exactly one answer"
        answer = self.answers[-1]
        assert self.headers[-1]["content-type"] == "", "the URL is signed for an empty content type"
        for name in ("StackId", "RequestId", "LogicalResourceId"):
            assert answer.pop(name) == event[name]
        assert set(answer) == {"Status", "Reason", "PhysicalResourceId", "Data"}
        assert answer["PhysicalResourceId"]
        assert answer["Reason"]
        return answer


@contextmanager
def cloudformation() -> Iterator[CloudFormation]:
    """The receiving end of pre-signed URLs."""
    cfn = CloudFormation("")

    class Receiver(_Quiet):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert len(body) <= 4096
            if cfn.refusals:
                cfn.refusals -= 1
                self.reply(503, {})
                return
            cfn.headers.append({name.lower(): value for name, value in self.headers.items()})
            cfn.answers.append(json.loads(body))
            self.reply(200, {})

    with _serving(Receiver) as url:
        cfn.url = url
        yield cfn


@contextmanager
def json_api(service: str, answer: Operation) -> Iterator[str]:
    """An AWS JSON 1.1 API, by botocore's model of `service`: gives its URL."""
    model = _model(service)

    class Api(_Quiet):
        def do_POST(self) -> None:
            name = self.headers["x-amz-target"].rpartition(".")[2]
            given = json.loads(self.rfile.read(int(self.headers["content-length"])))
            problems = ParamValidator().validate(given, model.operation_model(name).input_shape)
            try:
                if problems.has_errors():
                    raise Fault("ValidationException", problems.generate_report())
                self.reply(200, answer(name, given))
            except Fault as fault:
                self.reply(400, {"__type": fault.code, "message": str(fault)})

    with _serving(Api) as url:
        yield url


@contextmanager
def function(name: str) -> Iterator[ModuleType]:
    """A module of the functions' folder, as Lambda loads it: the folder is the root of the imports."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
        for own in FOLDER.glob("*.py"):
            sys.modules.pop(own.stem, None)


@functools.cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


class _Quiet(BaseHTTPRequestHandler):
    def reply(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the test's own output."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

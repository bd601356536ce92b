"""Bedrock's Converse API over HTTP, as strict as botocore's own service model: for tests."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.validate import ParamValidator

CONVERSE = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
Answer = Callable[[Mapping[str, Any]], tuple[int, Mapping[str, Any], str]]


def said(*blocks: Mapping[str, Any], stop: str = "end_turn") -> tuple[int, dict[str, Any], str]:
    """A whole answer of Converse with these content blocks."""
    body = {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": stop,
        "usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18},
        "metrics": {"latencyMs": 5},
    }
    return 200, body, ""


def refused(status: int, code: str, message: str = "no") -> tuple[int, dict[str, Any], str]:
    return status, {"message": message}, code


class ConverseServer:
    """Answers with what `answer` makes of a request; keeps requests, and breaches of the service model."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: said({"text": "ready"})
        self.requests: list[dict[str, Any]] = []
        self.models: list[str] = []
        self.breaches: list[str] = []
        self.url = ""

    def handle(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, Any], str]:
        _, kind, model, operation = path.split("/")
        request = json.loads(body)
        if (kind, operation) != ("model", "converse") or "/bedrock/aws4_request" not in headers[
            "authorization"
        ]:
            self.breaches.append(f"{path}: is no signed Converse")
        self.check(CONVERSE.input_shape, {"modelId": unquote(model), **request})
        self._turns(request)
        self.models.append(unquote(model))
        self.requests.append(request)
        status, told, code = self.answer(request)
        if status == 200:
            self.check(CONVERSE.output_shape, told)
        return status, told, code

    def check(self, shape: Any, value: Mapping[str, Any]) -> None:
        report = ParamValidator().validate(dict(value), shape)
        if report.has_errors():
            self.breaches.append(report.generate_report())

    def _turns(self, request: Mapping[str, Any]) -> None:
        """What the service refuses and its model cannot say."""
        roles = [message["role"] for message in request["messages"]]
        if roles[0] != "user" or any(a == b for a, b in pairwise(roles)):
            self.breaches.append(f"roles do not take turns: {roles}")
        blocks = [block for message in request["messages"] for block in message["content"]]
        if any(not block["text"].strip() for block in blocks if "text" in block):
            self.breaches.append("a text is blank")
        for before, after in pairwise(request["messages"]):
            used = {b["toolUse"]["toolUseId"] for b in before["content"] if "toolUse" in b}
            answered = {b["toolResult"]["toolUseId"] for b in after["content"] if "toolResult" in b}
            if before["role"] == "assistant" and used != answered:
                self.breaches.append(f"tool uses {used} are answered by {answered}")


@contextmanager
def converse_server() -> Iterator[ConverseServer]:
    """A server on a free loopback port, in threads of its own."""
    made = ConverseServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told, code = made.handle(self.path, headers, body)
            data = json.dumps(told).encode()
            self.send_response(status)
            if code:
                self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""A scripted Job Runtime over real HTTP on loopback, for tests of adapters.

Without a script it plays the service: every Sample is answered by `policy`, a trajectory is sealed once and
rewarded once, and whatever breaks that life cycle is listed in `breaches`. A script decides the next
requests of an operation, one `Answer` each; `None` stands for an ordinary answer.
"""

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER

OPERATIONS = {"/sample": "sample", "/complete-rollout": "complete", "/update-reward": "reward"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    operation: str
    job_arn: str
    rollout_id: str
    headers: Mapping[str, str]
    raw: bytes
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service does with one request.

    `reset` cuts the connection before anything happened, `lost` after it took effect; `hang` never answers.
    Without a fault and with status 200 and no body, the request is served as usual.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Literal["", "reset", "lost", "hang"] = ""


Policy = Callable[[Seen], Mapping[str, Any]]


def assistant(content: str | None = "done", *calls: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat completion with one assistant message; `finish_reason` and other message fields by name."""
    finish = fields.pop("finish_reason", "tool_calls" if calls else "stop")
    message: dict[str, Any] = {"role": "assistant", "content": content, **fields}
    if calls:
        message["tool_calls"] = list(calls)
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def tool_call(name: str, arguments: object = None, call_id: str = "c1") -> dict[str, Any]:
    """A tool call of an assistant message; `arguments` as a text is sent as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


class FakeJobRuntime:
    """`async with FakeJobRuntime() as service`: serves on `service.url` until the context is left."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy: Policy = policy or (lambda _: assistant())
        self.url = ""
        self.seen: list[Seen] = []
        self.turns: Counter[str] = Counter()
        self.seals: dict[str, str] = {}
        self.rewards: dict[str, list[float]] = {}
        self.breaches: list[str] = []
        self._scripts: dict[str, deque[Answer | None]] = defaultdict(deque)
        self._arrived = asyncio.Condition()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def script(self, operation: Literal["sample", "complete", "reward"], *answers: Answer | None) -> None:
        """Decide the next requests of an operation, in the order of their arrival."""
        self._scripts[operation].extend(answers)

    def count(self, operation: str) -> int:
        return sum(seen.operation == operation for seen in self.seen)

    async def arrived(self, operation: str, count: int = 1) -> None:
        """Wait until so many requests of an operation have come in."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.count(operation) >= count)

    async def __aenter__(self) -> "FakeJobRuntime":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        seen = await _read(http)
        async with self._arrived:
            self.seen.append(seen)
            self._arrived.notify_all()
        script = self._scripts[seen.operation]
        answer = (script.popleft() if script else None) or Answer()
        if answer.fault == "hang":
            await self._closing.wait()
        if answer.fault in ("reset", "hang"):
            return _cut(http)
        if answer.body is not None or answer.status != 200:
            return web.Response(status=answer.status, body=answer.body or b"{}", headers=answer.headers)
        response = self._serve(seen)
        return _cut(http) if answer.fault == "lost" else response

    def _serve(self, seen: Seen) -> web.Response:
        if seen.operation == "sample":
            return self._sample(seen)
        if seen.operation == "complete":
            return self._complete(seen)
        if seen.operation == "reward":
            return self._reward(seen)
        self.breaches.append(f"unknown operation {seen.operation}")
        return _error(404, "no such operation")

    def _sample(self, seen: Seen) -> web.Response:
        if seen.rollout_id in self.seals:
            self.breaches.append(f"sample after seal: {seen.rollout_id}")
            return _error(400, "Trajectory is not in valid status for sampling.")
        self.turns[seen.rollout_id] += 1
        return web.json_response(self.policy(seen))

    def _complete(self, seen: Seen) -> web.Response:
        if seen.rollout_id in self.seals:
            return _error(409, "Cannot transition trajectory: not in valid status")
        self.seals[seen.rollout_id] = seen.body["Status"]
        return web.json_response({})

    def _reward(self, seen: Seen) -> web.Response:
        if seen.rollout_id in self.rewards or self.seals.get(seen.rollout_id) != "ready":
            if seen.rollout_id not in self.rewards:
                self.breaches.append(f"reward before seal: {seen.rollout_id}")
            return _error(409, "Trajectory is not in valid status")
        if len(seen.body["Rewards"]) not in (1, self.turns[seen.rollout_id]):
            self.breaches.append(f"misshapen reward: {seen.rollout_id}")
            return _error(400, "Rewards: give one value, or one a turn")
        self.rewards[seen.rollout_id] = seen.body["Rewards"]
        return web.json_response({})


async def _read(http: web.Request) -> Seen:
    raw = await http.read()
    body = json.loads(raw)
    rollout_id = http.headers.get(TRAJECTORY_HEADER) or body.get("TrajectoryId", "")
    operation = OPERATIONS.get(http.path, http.path)
    return Seen(operation, http.headers.get(JOB_ARN_HEADER, ""), rollout_id, http.headers.copy(), raw, body)


def _cut(http: web.Request) -> web.StreamResponse:
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)

"""The simulated service: answers Samples after the model's latency, and checks what it is told.

A trajectory's Samples must carry its own conversation and nobody else's: a header and a conversation that
name different rollouts are counted as crossed, and a wrong number of turns, an early seal or a missing reward
as errors.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from bench.load import world
from bench.load.wire import Request, listen

_TRAJECTORY = re.compile(rb"(?i)\r\nx-amzn-sagemaker-trajectory-id:([^\r]+)")
_CASE = re.compile(rb"case=<([!-~]+?)>")
SAMPLE_PATHS = frozenset({"/sample", "/sample-with-response-stream", "/v1/chat/completions"})


@dataclass(slots=True)
class Trajectory:
    """What the service knows of one rollout."""

    samples: int = 0
    sealed: str = ""
    rewards: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Service:
    """One episode shape at a time; `async with serving()`."""

    def __init__(self) -> None:
        self.url = ""
        self.shape = world.Shape()
        self.samples = 0
        self.crossed = 0
        self.breaches: list[str] = []
        self.trajectories: dict[str, Trajectory] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Service"]:
        server, self.url = await listen(self._serve)
        try:
            yield self
        finally:
            server.close()

    def reset(self, shape: world.Shape) -> None:
        """Forget all trajectories, and play episodes of this shape from now on."""
        self.shape = shape
        self.samples = self.crossed = 0
        self.breaches = []
        self.trajectories = {}

    def expect(self, rollout_id: str) -> Trajectory:
        return self.trajectories.setdefault(rollout_id, Trajectory())

    def _serve(self, request: Request) -> None:
        try:
            self._dispatch(request)
        except (ValueError, KeyError, TypeError) as error:
            self.breaches.append(f"{request.path} with a body of another form: {error!r}")
            request.reply(b'{"message": "malformed"}', status=400)

    def _dispatch(self, request: Request) -> None:
        if request.path in SAMPLE_PATHS:
            self._sample(request)
        elif request.path == "/complete-rollout":
            self._complete(request)
        elif request.path == "/update-reward":
            self._reward(request)
        elif request.method == "PUT":  # a result file, of a toolkit that reports by object storage
            self._result(request)
        else:
            self.breaches.append(f"unknown operation {request.path}")
            request.reply(b"{}", status=404)

    def _sample(self, request: Request) -> None:
        rollout_id = request.header(_TRAJECTORY)
        cases = set(_CASE.findall(request.body))
        if cases != {rollout_id.encode()}:
            self.crossed += 1
        trajectory = self.trajectories.get(rollout_id)
        if trajectory is None or trajectory.sealed:
            self.breaches.append(f"a Sample of {rollout_id}, which is unknown or sealed")
            request.reply(b'{"message": "not in valid status"}', status=400)
            return
        trajectory.samples += 1
        self.samples += 1
        turn = trajectory.samples
        stream = request.path.endswith("stream") or re.search(rb'"stream":\s?true', request.body) is not None
        answer = self._streamed if stream else self._answered
        loop = asyncio.get_running_loop()
        loop.call_later(self.shape.latency, answer, request, rollout_id, turn)

    def _message(self, rollout_id: str, turn: int) -> tuple[dict[str, object], str]:
        if turn >= self.shape.turns:
            return {"role": "assistant", "content": world.ANSWER}, "stop"
        function = {"name": world.TOOL, "arguments": json.dumps({"return_id": rollout_id})}
        call = {"id": f"call-{turn}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"

    def _answered(self, request: Request, rollout_id: str, turn: int) -> None:
        message, finish = self._message(rollout_id, turn)
        choice = {"index": 0, "message": message, "finish_reason": finish}
        request.reply(orjson.dumps(_envelope("chat.completion", choice)))

    def _streamed(self, request: Request, rollout_id: str, turn: int) -> None:
        """The same answer as server-sent events, all at once: the model's latency has passed."""
        message, finish = self._message(rollout_id, turn)
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message = {**message, "tool_calls": [{"index": 0, **call} for call in calls]}
        chunks = [
            {"index": 0, "delta": message, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": finish},
        ]
        lines = [orjson.dumps(_envelope("chat.completion.chunk", chunk)) for chunk in chunks]
        body = b"".join(b"data: " + line + b"\n\n" for line in [*lines, b"[DONE]"])
        request.reply(body, kind=b"text/event-stream")

    def _complete(self, request: Request) -> None:
        body = orjson.loads(request.body)
        trajectory = self.trajectories.get(body["TrajectoryId"])
        if trajectory is None or trajectory.sealed:
            self.breaches.append(f"a second seal of {body['TrajectoryId']}")
            request.reply(b'{"message": "not in valid status"}', status=409)
            return
        trajectory.sealed = body["Status"]
        request.reply(b"{}")

    def _reward(self, request: Request) -> None:
        body = orjson.loads(request.body)
        trajectory = self.trajectories.get(body["TrajectoryId"])
        if trajectory is None or trajectory.sealed != "ready" or trajectory.rewards:
            self.breaches.append(f"a reward of {body['TrajectoryId']}, which is not sealed or has one")
            request.reply(b'{"message": "not in valid status"}', status=409)
            return
        trajectory.rewards = body["Rewards"]
        trajectory.ended.set()
        request.reply(b"{}")

    def _result(self, request: Request) -> None:
        found = _CASE.search(request.body) or re.search(rb'"input_id":\s*"([^"]+)"', request.body)
        trajectory = self.trajectories.get(found[1].decode()) if found else None
        if trajectory is None:
            self.breaches.append("a result of an unknown rollout")
        else:
            trajectory.sealed = "ready"
            trajectory.rewards = [float(orjson.loads(request.body).get("rewards", "nan"))]
            trajectory.ended.set()
        request.reply(b"")


def _envelope(kind: str, choice: dict[str, object]) -> dict[str, object]:
    return {
        "id": "chatcmpl-bench",
        "object": kind,
        "created": 1_700_000_000,
        "model": world.MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 1800, "completion_tokens": 40, "total_tokens": 1840},
    }

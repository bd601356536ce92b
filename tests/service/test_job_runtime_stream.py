"""Streams: SampleWithResponseStream through boto3, and /v1/chat/completions in both modes."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
import pytest

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER

from .stand_in import ARN, SIGNED, ServedRuntime, Turns, aws
from .test_job_runtime import CALL, USER

LONG = {"role": "assistant", "content": "A text of more than one piece, with ünïcode and \n\n lines. " * 3}
TWO_CALLS = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": "' + "x" * 60 + '"}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ],
}
REASONED = {"role": "assistant", "content": "done", "reasoning_content": "because " * 10}
SHAPES = pytest.mark.parametrize(
    "turn", [LONG, CALL, TWO_CALLS, REASONED], ids=["text", "call", "text and calls", "reasoning"]
)
HEADERS = {JOB_ARN_HEADER: ARN, TRAJECTORY_HEADER: "t-1", "Authorization": SIGNED}


@pytest.fixture
def served() -> Iterator[ServedRuntime]:
    server = ServedRuntime()
    yield server
    server.close()


def events(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The chunks of a stream, which must end in `[DONE]`."""
    data = [line.removeprefix(b"data: ") for line in lines if line]
    assert data[-1] == b"[DONE]"
    return [json.loads(item) for item in data[:-1]]


def assembled(chunks: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The message and the finish reason, put together as an OpenAI client does it."""
    message: dict[str, Any] = {}
    calls: dict[int, dict[str, Any]] = {}
    finish = ""
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = dict(choice["delta"])
            for part in delta.pop("tool_calls", ()):
                _merge_call(calls, part)
            for name, value in delta.items():
                joined = name != "role" and isinstance(value, str) and isinstance(message.get(name), str)
                message[name] = message[name] + value if joined else value
            finish = choice["finish_reason"] or finish
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message, finish


def _merge_call(calls: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    if part["index"] not in calls:
        calls[part["index"]] = {**part, "function": dict(part["function"])}
        del calls[part["index"]]["index"]
    else:
        calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]


@SHAPES
def test_a_stream_is_the_turn_in_pieces(served: ServedRuntime, turn: dict[str, Any]) -> None:
    trajectory = served.open(Turns(turn))
    runtime = aws("sagemakerjobruntime", served.url)
    body = json.dumps({"messages": [USER], "model": "m-1"})
    told = runtime.sample_with_response_stream(JobArn=ARN, TrajectoryId="t-1", Body=body)
    assert told["ContentType"].startswith("text/event-stream")
    chunks = events(told["Body"].iter_lines())
    finish = "tool_calls" if turn.get("tool_calls") else "stop"
    assert assembled(chunks) == (turn, finish)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"m-1"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    # A client that did not ask for usage may look at choices[0] of every chunk.
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert len(chunks) > 2
    assert [each.message for each in trajectory.turns] == [turn]
    assert served.counts == {"samples": 1}


@SHAPES
async def test_chat_completions_in_both_modes(served: ServedRuntime, turn: dict[str, Any]) -> None:
    served.open(Turns(turn))
    served.open(Turns(turn), "t-2")
    url = served.url + "/v1/chat/completions"
    body: dict[str, Any] = {"model": "default", "messages": [USER]}
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        async with http.post(url, json=body) as answer:
            assert answer.status == 200
            whole = await answer.json()
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        async with http.post(url, json=streamed, headers={TRAJECTORY_HEADER: "t-2"}) as answer:
            assert answer.content_type == "text/event-stream"
            chunks = events((await answer.read()).split(b"\n\n"))
    choice = whole["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == assembled(chunks)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize("path", ["/sample-with-response-stream", "/v1/chat/completions"])
async def test_a_refusal_is_no_stream(served: ServedRuntime, path: str) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        body = {"messages": [USER], "stream": True}
        async with http.post(served.url + path, json=body) as answer:
            assert (answer.status, answer.content_type) == (404, "application/json")
            assert answer.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
        async with http.post(served.url + path, json={"messages": [USER], "stream": "yes"}) as answer:
            assert answer.status == 400


async def test_a_client_that_leaves_a_stream_does_no_harm(served: ServedRuntime) -> None:
    served.open(Turns({"role": "assistant", "content": "x" * 2_000_000}))
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        url = served.url + "/sample-with-response-stream"
        async with http.post(url, json={"messages": [USER]}) as answer:
            await answer.content.readany()
            answer.close()
        async with http.post(served.url + "/complete-rollout", json={"TrajectoryId": "t-1"}) as answer:
            assert answer.status == 200

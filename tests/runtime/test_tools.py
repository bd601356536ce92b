"""Tool calls: validated, bounded, cut, capped; what is wrong with them goes back to the policy."""

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.contract import Budget, EpisodeView, Policy, StopReason, ToolCall, ToolResult
from adapters.runtime.fakes import (
    FakeEnvironment,
    FakeJobRuntime,
    Tool,
    answers,
    assistant,
    hangs,
    ignores_cancellation,
    tool_call,
)
from tests.runtime.kit import adapter, request

SCHEMA = {
    "type": "object",
    "properties": {"key": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["key"],
    "additionalProperties": False,
}


async def results(
    service: FakeJobRuntime, *calls: Any, tools: dict[str, Tool] | None = None, **settings: Any
) -> tuple[list[dict[str, Any]], FakeEnvironment, dict[str, Any]]:
    """The tool messages that came back after one turn with these calls."""
    service.policy = lambda seen: assistant() if len(seen.body["messages"]) > 2 else assistant(None, *calls)
    environment = FakeEnvironment(tools=tools, schemas={"look": SCHEMA})
    async with adapter(service, environment, **settings) as own:
        outcome = await own.rollouts.run(request())
        assert outcome.stop_reason == "answered"
        metrics = own.metrics()
    second = [seen for seen in service.seen if seen.operation == "sample"][1]
    return second.body["messages"][3:], environment, metrics


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("look", "{half", "not valid JSON"),
        ("look", '{"key": "\\ud800"}', "not valid JSON"),
        ("look", '{"key": NaN}', "not valid JSON"),
        ("look", "[" * 5000, "not valid JSON"),
        ("look", "[1]", "must be a JSON object"),
        ("look", '"text"', "must be a JSON object"),
        ("look", {}, '"key" is a required property'),
        ("look", "", '"key" is a required property'),
        ("look", {"key": 3}, "key: 3 is not of type"),
        ("look", {"key": "a", "other": 1}, "other"),
        ("lookup", {"key": "a"}, "There is no tool 'lookup'. Tools: look."),
        ("", {}, "There is no tool ''"),
    ],
)
async def test_a_malformed_call_goes_back_as_an_error(
    service: FakeJobRuntime, name: str, arguments: Any, said: str
) -> None:
    (message,), environment, metrics = await results(service, tool_call(name, arguments))
    assert (message["role"], message["tool_call_id"]) == ("tool", "c1")
    assert said in json.loads(message["content"])["error"]
    assert environment.episodes[0].calls == []
    assert (metrics["ToolErrors"], metrics["ToolCalls"]) == (1, 1)


async def test_parallel_calls_are_answered_one_by_one(service: FakeJobRuntime) -> None:
    calls = [
        tool_call("look", {"key": "a"}, "c1"),
        tool_call("nope", {}, "c2"),
        {"id": "c3", "type": "function", "function": {"name": "look", "arguments": {"key": "b", "n": 1}}},
    ]
    messages, environment, metrics = await results(service, *calls)
    assert [message["tool_call_id"] for message in messages] == ["c1", "c2", "c3"]
    assert environment.episodes[0].calls == [("look", {"key": "a"}), ("look", {"key": "b", "n": 1})]
    assert (metrics["ToolErrors"], metrics["ToolCalls"]) == (1, 3)


@pytest.mark.parametrize("tool", [hangs(), ignores_cancellation(1.0)])
async def test_a_hanging_tool_is_cut(
    service: FakeJobRuntime, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runtime.recording.TOOL_CLEANUP_SECONDS", 0.1)
    (message,), _, metrics = await results(
        service, tool_call("look", {"key": "a"}), tools={"look": tool}, tool_timeout=0.1
    )
    assert json.loads(message["content"])["error"] == "look did not answer within 0.1 s."
    assert metrics["ToolErrors"] == 1


async def test_a_tools_own_refusal_goes_back(service: FakeJobRuntime) -> None:
    tools = {"look": answers("no such key", is_error=True)}
    (message,), _, metrics = await results(service, tool_call("look", {"key": "a"}), tools=tools)
    assert (message["content"], metrics["ToolErrors"]) == ("no such key", 1)


@pytest.mark.parametrize("length", [99, 100, 101, 5000])
async def test_a_long_result_is_cut_visibly(service: FakeJobRuntime, length: int) -> None:
    tools = {"look": answers("x" * length)}
    (message,), _, _ = await results(
        service, tool_call("look", {"key": "a"}), tools=tools, tool_result_chars=100
    )
    if length <= 100:
        assert message["content"] == "x" * length
    else:
        marker = f"\n[cut: {length - 100} of {length} characters left out]"
        assert message["content"] == "x" * 100 + marker


async def test_an_error_that_repeats_the_arguments_is_cut_too(service: FakeJobRuntime) -> None:
    call = tool_call("look", {"key": ["y" * 9000]})
    (message,), _, _ = await results(service, call, tool_result_chars=200)
    assert len(message["content"]) < 300
    assert "[cut:" in message["content"]


async def test_a_loop_may_look_something_up_before_it_samples(service: FakeJobRuntime) -> None:
    class Early:
        async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
            result = await episode.execute(ToolCall("", "look", '{"key": "a"}'))
            await policy.complete([*episode.messages, {"role": "user", "content": result.content}])
            return StopReason.ANSWERED

    async with adapter(service, loop=Early()) as own:
        outcome = await own.rollouts.run(request())
    assert (outcome.stop_reason, outcome.sealed) == ("answered", "ready")


async def test_tools_that_hold_threads_for_ever_leave_some_to_the_others(service: FakeJobRuntime) -> None:
    let_go = threading.Event()
    as_many = (os.cpu_count() or 1) + 4  # the threads of a loop

    async def held(_: Mapping[str, Any]) -> ToolResult:
        await asyncio.to_thread(let_go.wait)
        return ToolResult("late")

    calls = [tool_call("look", {"key": "a"}) for _ in range(min(32, as_many))]
    try:
        found, _, _ = await results(service, *calls, tools={"look": held}, tool_timeout=0.01)
        assert len(found) == len(calls)
        async with asyncio.timeout(20):
            await asyncio.to_thread(lambda: None)
    finally:
        let_go.set()

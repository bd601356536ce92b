"""The built-in loop: calls in either form, the other party, and the penalty for calls in text."""

import json
from typing import Any

import pytest

from adapters.contract import Reward
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime, assistant, tool_call
from tests.runtime.kit import adapter, request

WRITTEN = '{"name": "look", "arguments": {"key": "a"}}'


def script(*answers: dict[str, Any]) -> Any:
    def policy(seen: Any) -> dict[str, Any]:
        turn: int = sum(message["role"] == "assistant" for message in seen.body["messages"])
        return answers[min(turn, len(answers) - 1)]

    return policy


async def test_a_conversation_of_all_kinds(service: FakeJobRuntime) -> None:
    service.policy = script(
        assistant(None, tool_call("look", {"a": 1}, "c1"), tool_call("look", {"a": 2}, "c2")),
        assistant("Which one?"),
        assistant("I call " + WRITTEN),
        assistant("done"),
    )
    environment = FakeEnvironment(max_turns=9, replies=["The second."])
    async with adapter(service, environment) as own:
        outcome = await own.rollouts.run(request())
        line = own.metrics()
    assert (outcome.stop_reason, outcome.turns) == ("answered", 4)
    last = [seen for seen in service.seen if seen.operation == "sample"][-1].body["messages"]
    roles = [message["role"] for message in last]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant", "user"]
    assert last[6] == {"role": "user", "content": "The second."}
    assert last[7] == {"role": "assistant", "content": "I call " + WRITTEN}
    assert last[8]["content"].startswith("Result of look (call tools through the tool interface")
    assert last[8]["content"].endswith(": 42")
    assert (line["ToolCalls"], line["TextToolCalls"]) == (3, 1)
    assert [arguments for _, arguments in environment.episodes[0].calls] == [{"a": 1}, {"a": 2}, {"key": "a"}]


@pytest.mark.parametrize(
    ("calls", "reward", "expected"),
    [(1, 0.5, 0.45), (2, 0.5, 0.4), (3, 0.5, 0.35), (4, 0.5, 0.3), (9, 0.5, 0.3), (9, -0.9, -1.0)],
)
async def test_calls_in_text_cost_a_little_and_never_more_than_the_cap(
    service: FakeJobRuntime, calls: int, reward: float, expected: float
) -> None:
    service.policy = script(*[assistant(WRITTEN)] * calls, assistant("done"))
    async with adapter(service, FakeEnvironment(max_turns=20, reward=Reward(reward, {"o": reward}))) as own:
        outcome = await own.rollouts.run(request())
        line = own.metrics()
    assert outcome.rewards == pytest.approx((expected,))
    assert line["TextToolCalls"] == calls
    assert line["reward_components"]["text_tool_calls"] == pytest.approx(-min(0.2, 0.05 * calls))


async def test_the_penalty_falls_on_the_last_turn(service: FakeJobRuntime) -> None:
    service.policy = script(assistant(WRITTEN), assistant("done"))
    environment = FakeEnvironment(reward=Reward(0.5, per_turn=(0.1, 0.4)))
    async with adapter(service, environment, rewards="turn") as own:
        outcome = await own.rollouts.run(request())
    assert outcome.rewards == pytest.approx((0.1, 0.35))


async def test_a_switched_off_penalty_costs_nothing(service: FakeJobRuntime) -> None:
    service.policy = script(assistant(WRITTEN), assistant("done"))
    async with adapter(service, text_tool_call_penalty=0.0) as own:
        assert (await own.rollouts.run(request())).rewards == (0.5,)
        assert own.metrics()["TextToolCalls"] == 1


async def test_a_malformed_call_in_text_goes_back_too(service: FakeJobRuntime) -> None:
    service.policy = script(assistant('{"name": "look", "arguments": [1]}'), assistant("done"))
    async with adapter(service) as own:
        assert (await own.rollouts.run(request())).stop_reason == "answered"
    answer = service.seen[1].body["messages"][-1]["content"]
    assert "must be a JSON object" in json.loads(answer.split(": ", 1)[1])["error"]

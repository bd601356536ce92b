"""The conversation only grows, goes back verbatim, and is serialized once."""

import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from adapters.contract import Budget, EpisodeView, Policy, StopReason
from adapters.runtime import recording
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime, assistant, tool_call
from tests.runtime.kit import adapter, request

ODD: dict[str, Any] = {
    "reasoning_content": 'h\u00e4 \U0001f600 \u2028\n\t"',
    "refusal": None,
    "annotations": [{"z": 1, "a": [1.5, -0.0, 1e-7, True]}],
    "x_vendor": {"": {}, "deep": {"er": []}},
}


def talk(turns: int) -> Callable[[Any], dict[str, Any]]:
    def policy(seen: Any) -> dict[str, Any]:
        sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
        return (
            assistant(None, tool_call("look"), n=sampled, **ODD)
            if sampled < turns - 1
            else assistant("x", **ODD)
        )

    return policy


async def test_unknown_fields_come_back_byte_for_byte(service: FakeJobRuntime) -> None:
    service.policy = talk(4)
    async with adapter(service) as own:
        await own.rollouts.run(request())
        assert own.metrics()["Rewrites"] == 0
    bodies = [seen for seen in service.seen if seen.operation == "sample"]
    assert len(bodies) == 4
    for earlier, later in itertools.pairwise(bodies):
        known, grown = earlier.body["messages"], later.body["messages"]
        assert grown[: len(known)] == known
        answer = service.policy(earlier)["choices"][0]["message"]
        assert orjson.dumps(answer) in later.raw  # key order, numbers and unicode as they came
        assert earlier.raw.split(b'"messages":[')[1].split(b'],"tools"')[0] in later.raw


async def test_each_message_is_serialized_once(
    service: FakeJobRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.policy = talk(30)
    dumped: list[Any] = []
    real = orjson.dumps

    class Counting:
        Fragment, loads = orjson.Fragment, staticmethod(orjson.loads)

        @staticmethod
        def dumps(value: Any, **options: Any) -> bytes:
            dumped.append(value)
            return real(value, **options)

    monkeypatch.setattr(recording, "orjson", Counting)
    async with adapter(service, FakeEnvironment(max_turns=40)) as own:
        outcome = await own.rollouts.run(request())
    assert outcome.turns == 30
    messages = [value for value in dumped if isinstance(value, dict) and "role" in value]
    assert len(messages) == 2 + 30 + 29  # opening, answers, tool results: each once
    assert sum(isinstance(value, list) for value in dumped) == 1  # the tools, too


class Rewriter:
    """A loop that does something to the conversation before its second and third Sample."""

    def __init__(self, change: Callable[[list[Any]], object]) -> None:
        self.change = change

    async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
        messages = [dict(message) for message in episode.messages]
        for turn in range(3):
            if turn:
                self.change(messages)
            completion = await policy.complete(messages)
            messages = [*messages, dict(completion.message), {"role": "user", "content": "go on"}]
        return StopReason.ANSWERED


@pytest.mark.parametrize(
    ("change", "rewrites"),
    [
        (lambda messages: None, 0),
        (lambda messages: messages.append({"role": "user", "content": "more"}), 0),
        (lambda messages: messages.__setitem__(0, {"role": "system", "content": "new"}), 1),
        (lambda messages: messages.pop(0), 2),
        (lambda messages: messages[-2].pop("reasoning_content"), 2),
        (lambda messages: messages.pop(-2), 2),
        (lambda messages: messages.insert(-2, {"role": "user", "content": "before"}), 2),
        (lambda messages: messages[-2].update(content="shorter"), 2),
    ],
)
async def test_rewrites_are_counted(
    service: FakeJobRuntime, change: Callable[[list[Any]], object], rewrites: int
) -> None:
    service.policy = lambda _: assistant("x", **ODD)
    async with adapter(service, loop=Rewriter(change)) as own:
        await own.rollouts.run(request())
        assert own.metrics()["Rewrites"] == rewrites


async def test_a_message_changed_in_place_goes_back_as_it_was_sampled(service: FakeJobRuntime) -> None:
    class InPlace:
        async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
            messages: list[Any] = list(episode.messages)
            for _ in range(2):
                completion = await policy.complete(messages)
                completion.raw["choices"][0]["message"].pop("reasoning_content")
                messages.append(completion.message)
            return StopReason.ANSWERED

    service.policy = lambda _: assistant("x", **ODD)
    async with adapter(service, loop=InPlace()) as own:
        await own.rollouts.run(request())
    assert service.seen[1].body["messages"][2]["reasoning_content"] == ODD["reasoning_content"]


async def test_the_request_wins_over_a_loops_own_parameters(service: FakeJobRuntime) -> None:
    class Own:
        async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
            await policy.complete(episode.messages, temperature=0.0, seed=7)
            return StopReason.ANSWERED

    async with adapter(service, loop=Own()) as own:
        await own.rollouts.run(request(inferenceParams={"temperature": 1.0}))
    assert (service.seen[0].body["temperature"], service.seen[0].body["seed"]) == (1.0, 7)

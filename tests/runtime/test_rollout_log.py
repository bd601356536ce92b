"""The rollout log: an interrupted rollout goes on where it was, or says why it cannot."""

import asyncio
import json
from typing import Any

import pytest

from adapters.contract import EpisodeOver, Outcome, RolloutRequest, StopReason, ToolResult
from adapters.runtime.fakes import Answer, FakeEnvironment, FakeJobRuntime, answers, assistant, tool_call
from adapters.runtime.ledger import MemoryLedger
from adapters.runtime.rollout_log import LogUnreadable, RolloutLog
from tests.runtime.kit import adapter, request


def two_calls(seen: Any) -> dict[str, Any]:
    """Calls the tool in two turns, then answers."""
    sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
    return assistant(None, tool_call("look", {"turn": sampled})) if sampled < 2 else assistant("done")


async def interrupted(
    service: FakeJobRuntime, environment: FakeEnvironment, what: RolloutRequest, samples: int = 3
) -> Outcome:
    """A rollout whose first claim dies while its last Sample hangs, taken up by a second claim."""
    ledger = MemoryLedger()
    service.script("sample", *[None] * (samples - 1), Answer(fault="hang"))
    async with adapter(service, environment, ledger=ledger) as first:
        running = asyncio.create_task(first.rollouts.run(what))
        await service.arrived("sample", samples)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
    async with adapter(service, environment, ledger=ledger) as second:
        return await second.rollouts.run(what)


async def test_a_resumed_rollout_does_not_sample_again_what_it_has() -> None:
    environment = FakeEnvironment(replay="reexecute")
    async with FakeJobRuntime(two_calls) as service:
        outcome = await interrupted(service, environment, request())
        assert outcome.stop_reason is StopReason.ANSWERED
        assert (outcome.sealed, outcome.turns) == ("ready", 3)
        # Three that the first claim sent (the last hung), and the last one once more: none of the others.
        assert service.count("sample") == 4
        bodies = [json.loads(seen.raw) for seen in service.seen if seen.operation == "sample"]
        assert bodies[2] == bodies[3]
        assert (service.count("complete"), service.count("reward")) == (1, 1)
    # Both claims called the tool: the second one to rebuild what the tool holds.
    assert [len(episode.calls) for episode in environment.episodes] == [2, 2]


async def test_a_tool_that_returns_something_else_ends_the_replay() -> None:
    results = iter("abcdef")

    async def moody(_: object) -> ToolResult:
        return ToolResult(next(results))

    environment = FakeEnvironment(replay="reexecute", tools={"look": moody})
    async with FakeJobRuntime(two_calls) as service:
        outcome = await interrupted(service, environment, request())
        assert outcome.stop_reason is StopReason.REPLAY_DIVERGED
        assert outcome.sealed == "ready"  # it has Samples, so it ends with a number
        assert service.rewards["r1"] == [0.5]
        assert service.count("sample") == 3


async def test_an_environment_that_forbids_it_is_not_replayed() -> None:
    environment = FakeEnvironment(replay="none")
    async with FakeJobRuntime(two_calls) as service:
        outcome = await interrupted(service, environment, request())
        assert outcome.stop_reason is StopReason.CRASHED
        assert (outcome.sealed, outcome.imputed) == ("ready", True)
        assert len(environment.episodes) == 1


async def test_without_a_sample_the_second_claim_starts_anew() -> None:
    environment = FakeEnvironment(replay="none", tools={"look": answers("42")})
    async with FakeJobRuntime(two_calls) as service:
        outcome = await interrupted(service, environment, request(), samples=1)
        assert (outcome.stop_reason, outcome.turns) == (StopReason.ANSWERED, 3)


async def test_uncertain_attempts_are_remembered_across_a_resume() -> None:
    environment = FakeEnvironment(replay="reexecute")
    async with FakeJobRuntime(two_calls) as service:
        ledger = MemoryLedger()
        service.script("sample", Answer(fault="lost"), None, Answer(fault="hang"))
        async with adapter(service, environment, ledger=ledger) as first:
            running = asyncio.create_task(first.rollouts.run(request()))
            await service.arrived("sample", 3)
            running.cancel()
            await asyncio.wait({running})
        async with adapter(service, environment, ledger=ledger) as second:
            await second.rollouts.run(request())
            assert second.metrics()["UncertainSamples"] >= 1


def recorded() -> RolloutLog:
    log = RolloutLog()
    log.sampled(b"one", {"choices": []})
    log.tool("look", "42")
    log.doubt = 2
    log.sampled(b"two", {"choices": [1]})
    log.doubt = 1
    return log


def test_a_log_survives_its_bytes() -> None:
    log = RolloutLog.from_bytes(recorded().to_bytes(epoch=7))
    assert (log.samples, log.begun, log.doubt, log.epoch) == (2, 5, 1, 7)
    assert log.completion(b"one") == ({"choices": []}, 0)
    log.tool("look", "42")
    assert log.completion(b"two") == ({"choices": [1]}, 2)
    assert log.completion(b"three") is None


def test_a_log_holds_digests_of_what_was_asked_and_found() -> None:
    assert b"look" in recorded().to_bytes(1)
    assert not {b"one", b'"42"'} & set(recorded().to_bytes(1).split(b'"'))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"schema":99,"epoch":1,"doubt":0,"entries":[]}',
        b"[1]",
        b'{"schema":1}',
        recorded().to_bytes(1)[:-5],
    ],
)
def test_what_is_no_log_is_refused(data: bytes) -> None:
    with pytest.raises(LogUnreadable):
        RolloutLog.from_bytes(data)


def test_a_loop_that_asks_something_else_diverges() -> None:
    log = recorded()
    log.rewind()
    with pytest.raises(EpisodeOver) as over:
        log.completion(b"other")
    assert over.value.reason is StopReason.REPLAY_DIVERGED

"""A rollout that another claim began: what must still come of it when going on is not plain."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from adapters.contract import Outcome, RequestError, Reward, StopReason, ToolResult
from adapters.runtime.dynamo_ledger import DynamoClaim
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime, answers, assistant, tool_call
from adapters.runtime.ledger import LeaseLost
from tests.runtime.dynamo_kit import KEYS, LEASE, Clock, heartbeats, item, worker
from tests.runtime.kit import JOB, adapter, request
from tests.runtime.log_kit import FITS, Broken, Gate, Two, environment, handed_over, three_turns

OTHER = Outcome(StopReason.ANSWERED, "ready", (0.25,), turns=1)


@pytest.fixture
async def service() -> AsyncIterator[FakeJobRuntime]:
    async with FakeJobRuntime(three_turns) as served:
        yield served


@pytest.fixture
def two(service: FakeJobRuntime, dynamo: Any) -> Two:
    return Two(service, dynamo)


async def left(two: Two) -> None:
    """Two of three turns are sampled, and the rollout is handed back."""
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    assert two.service.turns == {two.request.rollout_id: 2}


async def breaks() -> None:
    raise RuntimeError("the sandbox is not there")


async def refuses() -> None:
    raise RequestError("prompt.input", "is no longer a task")


def spoiled(opening: Any) -> FakeEnvironment:
    return FakeEnvironment(replay="reexecute", tools={"look": answers("42")}, opening=opening)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (
            FakeEnvironment(replay="reexecute", tools={"look": answers("42"), "new": answers("")}),
            StopReason.REPLAY_DIVERGED,
        ),
        (spoiled(breaks), StopReason.ENVIRONMENT_ERROR),
        (spoiled(refuses), StopReason.ENVIRONMENT_ERROR),
    ],
    ids=["another request", "open raises", "open refuses"],
)
async def test_turns_that_are_not_even_replayed_are_rewarded_nevertheless(
    two: Two, what: FakeEnvironment, reason: StopReason
) -> None:
    await left(two)
    outcome = await two.second(what, fault_reward=-0.5)
    assert (outcome.stop_reason, outcome.sealed, outcome.imputed) == (reason, "ready", True)
    assert two.service.rewards == {two.request.rollout_id: [-0.5]}
    assert two.service.count("sample") == 2


async def test_rewards_by_turn_are_as_many_as_the_service_holds_turns(dynamo: Any) -> None:
    """A replay that diverges has seen fewer turns; one value for the episode is always right."""

    def four_turns(seen: Any) -> dict[str, Any]:
        sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
        return assistant(f"t{sampled}", tool_call("look", {"turn": sampled})) if sampled < 3 else assistant()

    results = iter(["42", "43"])

    async def changed(_: Mapping[str, Any]) -> ToolResult:
        return ToolResult(next(results))

    async with FakeJobRuntime(four_turns) as service:
        two, gate = Two(service, dynamo), Gate(3)
        await two.first(environment(gate), gate.reached.wait(), handed_over)
        again = environment(changed)
        again.reward = lambda transcript: Reward(0.5, per_turn=(0.5,) * len(transcript.turns))
        outcome = await two.second(again, rewards="turn")
        assert (outcome.stop_reason, outcome.turns) == (StopReason.REPLAY_DIVERGED, 2)
        assert service.turns == {two.request.rollout_id: 3}
        assert service.rewards == {two.request.rollout_id: [0.5]}


async def test_a_rollout_that_must_end_here_does_so_when_the_grace_is_over(two: Two) -> None:
    """Its HTTP caller was told `accepted`, and will not ask again."""
    gate = Gate(2)

    async def drained(own: Any, running: "asyncio.Task[Any]") -> None:
        own.rollouts.keep(two.request)
        own.rollouts.hand_over()
        await asyncio.wait({running}, timeout=0.3)
        assert not running.done()
        own.rollouts.drain()

    outcome = await two.first(environment(gate), gate.reached.wait(), drained)
    assert (outcome.stop_reason, outcome.sealed) == (StopReason.DRAINED, "ready")
    assert two.service.rewards == {two.request.rollout_id: [0.5]}


async def test_a_log_out_of_reach_is_not_waited_for_beyond_the_deadline(two: Two) -> None:
    await left(two)
    two.logs.refuses_gets = True
    outcome = await two.second(environment(), budget=0.0)
    assert (outcome.stop_reason, outcome.sealed) == (StopReason.CRASHED, "failed")
    assert two.service.seals == {two.request.rollout_id: "failed"}


async def test_two_claims_of_one_process_end_apart(service: FakeJobRuntime, dynamo: Any) -> None:
    """After an outage longer than a lease the same worker may be given a duplicate."""
    clock, gate, asked = Clock(), Gate(2), request(next(KEYS))
    ledger = worker(dynamo, clock, "one")
    settings = FITS | {"on_crash": "resume"}
    async with adapter(service, environment(gate), ledger=ledger, logs=Broken(), **settings) as own:
        first = asyncio.create_task(own.rollouts.run(asked))
        async with asyncio.timeout(20):
            await gate.reached.wait()
            clock.now += 3 * LEASE
            gate.stop, gate.calls = 2, 0
            gate.reached.clear()
            second = asyncio.create_task(own.rollouts.run(asked))
            await gate.reached.wait()
            assert own.rollouts.running == [asked.rollout_id] * 2
            gate.opened.set()
            ended = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(ended[0], LeaseLost)
        assert isinstance(ended[1], Outcome)
        assert own.rollouts.running == []
        assert not heartbeats()
    assert item(dynamo, f"{JOB}/{asked.rollout_id}")["acknowledged"] == {"BOOL": True}
    assert not service.breaches
    ledger.close()


async def test_what_is_refused_now_but_has_an_outcome_is_reported_with_it(
    service: FakeJobRuntime, dynamo: Any
) -> None:
    asked, ledger = request(next(KEYS)), worker(dynamo, Clock())
    claim = await ledger.claim(f"{JOB}/{asked.rollout_id}")
    assert isinstance(claim, DynamoClaim)
    await claim.record(OTHER)
    await claim.release()
    service.turns[asked.rollout_id] = 1
    async with adapter(service, ledger=ledger, **FITS) as own:
        assert await own.rollouts.reject(asked, StopReason.MALFORMED_TASK) == OTHER
    assert service.rewards == {asked.rollout_id: [0.25]}
    ledger.close()


async def test_poison_is_sealed_and_told_apart(service: FakeJobRuntime, dynamo: Any) -> None:
    asked, ledger = request(next(KEYS)), worker(dynamo, Clock())
    for _ in range(3):
        claim = await ledger.claim(f"{JOB}/{asked.rollout_id}")
        assert isinstance(claim, DynamoClaim)
        await claim.release()
    async with adapter(service, ledger=ledger, max_attempts=3, **FITS) as own:
        outcome = await own.rollouts.run(asked)
        assert (outcome.stop_reason, outcome.sealed) == (StopReason.POISONED, "failed")
        assert await own.rollouts.run(asked) == outcome
    assert (service.seals, service.count("sample")) == ({asked.rollout_id: "failed"}, 0)
    ledger.close()

"""Seal, then reward: written down before it is reported, repeated until acknowledged, never twice."""

import asyncio
from typing import Any

import pytest

from adapters.contract import Outcome, StopReason
from adapters.runtime import patience
from adapters.runtime.fakes import Answer, FakeJobRuntime, assistant, tool_call
from adapters.runtime.job_runtime import client_token
from adapters.runtime.ledger import LeaseLost, MemoryClaim, MemoryLedger
from adapters.runtime.reporting import NotAcknowledged
from adapters.runtime.rollout import Busy
from tests.runtime.kit import JOB, adapter, request

DONE = Outcome(StopReason.ANSWERED, "ready", (0.5,), score=1.0, turns=1)
CONFLICT = Answer(409, b'{"message": "not in valid status"}')
UNCERTAIN = [Answer(fault="lost"), Answer(fault="hang"), Answer(500), Answer(503)]
KEY = f"{JOB}/r1"


class NotedLedger(MemoryLedger):
    """Notes what the service had seen when the outcome was recorded."""

    def __init__(self, service: FakeJobRuntime) -> None:
        super().__init__()
        self.service = service
        self.at_record: list[list[str]] = []

    async def claim(self, key: str) -> MemoryClaim | Outcome | None:
        claim = await super().claim(key)
        if isinstance(claim, MemoryClaim):
            record = claim.record

            async def noted(outcome: Outcome) -> None:
                self.at_record.append([seen.operation for seen in self.service.seen])
                await record(outcome)

            claim.record = noted  # type: ignore[method-assign]
        return claim


async def test_the_outcome_is_recorded_before_it_is_reported(service: FakeJobRuntime) -> None:
    ledger = NotedLedger(service)
    async with adapter(service, ledger=ledger) as own:
        assert await own.rollouts.run(request()) == DONE
    assert ledger.at_record == [["sample"]]
    assert await ledger.claim(KEY) == DONE


@pytest.mark.parametrize("operation", ["complete", "reward"])
@pytest.mark.parametrize("fault", UNCERTAIN, ids=str)
async def test_a_conflict_after_an_attempt_in_doubt_is_our_own(
    service: FakeJobRuntime, operation: Any, fault: Answer
) -> None:
    service.script(operation, fault, CONFLICT)
    if operation == "complete":  # scripted conflicts seal nothing in the fake
        service.script("reward", Answer(200, b"{}"))
    async with adapter(service, sample_timeout=0.5) as own:
        assert await own.rollouts.run(request()) == DONE
        assert own.log("report_refused") == []
    assert service.count(operation) == 2
    assert service.count("reward") >= 1


@pytest.mark.parametrize("operation", ["complete", "reward"])
@pytest.mark.parametrize("before", [None, Answer(429), Answer(403)])
async def test_a_conflict_out_of_the_blue_is_somebody_elses(
    service: FakeJobRuntime, operation: Any, before: Answer | None
) -> None:
    service.script(operation, *([CONFLICT] if before is None else [before, CONFLICT]))
    async with adapter(service) as own:
        await own.rollouts.run(request())
        assert len(own.log("report_refused")) == 1
    assert service.count("reward") == (0 if operation == "complete" else 1 + (before is not None))


@pytest.mark.parametrize("operation", ["complete", "reward"])
async def test_every_attempt_carries_the_same_token(service: FakeJobRuntime, operation: Any) -> None:
    service.script(operation, Answer(500), Answer(429), Answer(fault="reset"), Answer(403), Answer(402))
    async with adapter(service) as own:
        await own.rollouts.run(request())
    tokens = [seen.body["ClientToken"] for seen in service.seen if seen.operation == operation]
    path = {"complete": "/complete-rollout", "reward": "/update-reward"}[operation]
    assert tokens == [client_token(request(), path)] * 6
    assert all(
        seen.body["JobArn"] == seen.job_arn == JOB for seen in service.seen if seen.operation == operation
    )


def test_tokens_differ_by_rollout_job_and_operation() -> None:
    other_job = request(job=JOB + "x")
    tokens = {client_token(r, op) for r in (request(), request("r2"), other_job) for op in ("/a", "/b")}
    assert len(tokens) == 6


async def test_what_the_service_does_not_take_in_time_is_reported_by_the_next_delivery(
    service: FakeJobRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "REPORT_GRACE_SECONDS", 0.2)
    service.script("complete", *[Answer(403)] * 10_000)
    ledger = MemoryLedger()
    async with adapter(service, ledger=ledger, budget=1.0, margin=0.5) as own:
        with pytest.raises(NotAcknowledged):
            await own.rollouts.run(request())
        assert ledger._entries[KEY].acknowledged is False
        service._scripts.clear()
        assert await own.rollouts.run(request()) == DONE
        assert len(own.log("rollout")) == 1  # one rollout, one line
        assert len(own.log("reported_again")) == 1
    assert (service.count("sample"), service.rewards) == (1, {"r1": [0.5]})


async def test_a_stored_outcome_is_reported_and_not_worked_out_again(service: FakeJobRuntime) -> None:
    ledger = MemoryLedger()
    claim = await ledger.claim(KEY)
    assert isinstance(claim, MemoryClaim)
    await claim.record(DONE)
    await claim.release()
    service.seals["r1"] = "ready"  # the process died after its seal
    async with adapter(service, ledger=ledger) as own:
        assert await own.rollouts.run(request()) == DONE
    assert [seen.operation for seen in service.seen] == ["complete", "reward"]
    assert service.rewards == {"r1": [0.5]}


async def test_a_finished_rollout_answers_again_without_work(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        first = await own.rollouts.run(request())
        before = len(service.seen)
        assert await own.rollouts.run(request()) == first
        await own.rollouts.run(request(job=JOB + "x"))  # the same id in another job is another rollout
    assert before == 3
    assert service.count("sample") == 2


async def test_a_rollout_is_played_by_one_claim(service: FakeJobRuntime) -> None:
    service.script("sample", Answer(fault="hang"))
    async with adapter(service) as own:
        running = asyncio.create_task(own.rollouts.run(request()))
        await service.arrived("sample")
        with pytest.raises(Busy):
            await own.rollouts.run(request())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await own.rollouts.run(request()) == DONE  # the claim was given back


async def test_a_lost_lease_writes_nothing() -> None:
    ledger = MemoryLedger()
    claim = await ledger.claim("k")
    assert isinstance(claim, MemoryClaim)
    await claim.release()
    with pytest.raises(LeaseLost):
        await claim.record(DONE)
    with pytest.raises(LeaseLost):
        claim.check(1)


async def test_acknowledged_outcomes_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.runtime.ledger.REMEMBERED", 2)
    ledger = MemoryLedger()
    for key in "abc":
        claim = await ledger.claim(key)
        assert isinstance(claim, MemoryClaim)
        await claim.record(DONE)
        await claim.acknowledge()
        await claim.release()
    assert [await ledger.claim(key) for key in "bc"] == [DONE, DONE]
    assert isinstance(await ledger.claim("a"), MemoryClaim)


async def held(ledger: MemoryLedger, key: str) -> MemoryClaim:
    claim = await ledger.claim(key)
    assert isinstance(claim, MemoryClaim)
    return claim


async def test_what_is_not_acknowledged_is_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.runtime.ledger.REMEMBERED", 2)
    ledger = MemoryLedger()
    at_work = await held(ledger, "at work")
    for key in "abc":
        claim = await held(ledger, key)
        claim.log.sampled(b"", {})
        if key != "b":
            await claim.record(DONE)
        await claim.release()
    at_work.check(1)  # the oldest of all, but somebody's
    forgotten, left, to_report = [await held(ledger, key) for key in "abc"]
    assert (forgotten.attempt, forgotten.outcome) == (1, None)
    assert (left.attempt, left.log.samples) == (2, 1)
    assert (to_report.attempt, to_report.outcome) == (2, DONE)


async def test_a_conversation_is_dropped_when_its_outcome_stands() -> None:
    ledger = MemoryLedger()
    claim = await held(ledger, "a")
    claim.log.sampled(b"", {})
    await claim.record(DONE)
    await claim.release()
    assert (await held(ledger, "a")).log.samples == 0


async def test_an_acknowledged_rollout_is_answered_while_its_claim_is_held() -> None:
    ledger = MemoryLedger()
    claim = await held(ledger, "a")
    await claim.record(DONE)
    assert await ledger.claim("a") is None
    await claim.acknowledge()
    assert await ledger.claim("a") == DONE
    await claim.release()
    assert await ledger.claim("a") == DONE


async def test_duplicates_at_once_join_nothing_but_the_claim(service: FakeJobRuntime) -> None:
    service.policy = lambda seen: (
        assistant() if len(seen.body["messages"]) > 2 else assistant(None, tool_call("look"))
    )
    async with adapter(service) as own:
        results = await asyncio.gather(
            *(own.rollouts.run(request()) for _ in range(8)), return_exceptions=True
        )
    assert sum(isinstance(result, Outcome) for result in results) == 1
    assert sum(isinstance(result, Busy) for result in results) == 7
    assert service.breaches == []

"""The rollout log outlives its worker: handed over by a drain, taken up after a crash, or refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.contract import RolloutRequest, StopReason
from adapters.runtime.fakes import Answer, FakeEnvironment, FakeJobRuntime, answers
from adapters.runtime.log_store import LogOutOfReach, S3LogStore, log_client, object_key
from adapters.runtime.rollout import HandedBack
from tests.aws import REGION, client
from tests.runtime.kit import Adapter, request
from tests.runtime.log_kit import Broken, Gate, Two, crashed, cut, environment, handed_over, three_turns


@pytest.fixture
async def service() -> AsyncIterator[FakeJobRuntime]:
    async with FakeJobRuntime(three_turns) as served:
        yield served


@pytest.fixture
def two(service: FakeJobRuntime, dynamo: Any) -> Two:
    return Two(service, dynamo)


async def test_handed_over_in_a_tool_call_nothing_is_sampled_twice(two: Two) -> None:
    gate = Gate(2)
    result = await two.first(environment(gate), gate.reached.wait(), handed_over)
    assert isinstance(result, HandedBack)
    assert two.service.seals == {}
    assert (two.item()["handed_back"], two.item()["sampled"]) == ({"N": "1"}, {"N": "2"})
    assert two.item()["attempt"] == {"N": "0"}  # a worker that was told to stop is no failed attempt
    outcome = await two.second(environment())
    assert (outcome.stop_reason, outcome.turns, outcome.sealed) == (StopReason.ANSWERED, 3, "ready")
    assert two.service.count("sample") == 3
    assert (two.service.count("complete"), two.service.count("reward")) == (1, 1)
    assert two.line["UncertainSamples"] == 0


class Slow(FakeJobRuntime):
    """Holds every request back until it is told to go."""

    def __init__(self) -> None:
        super().__init__(three_turns)
        self.go, self.held = asyncio.Event(), asyncio.Event()

    async def _handle(self, http: Any) -> Any:
        self.held.set()
        await self.go.wait()
        return await super()._handle(http)


async def test_a_hand_over_waits_for_the_sample_in_flight(two: Two) -> None:

    async def later(own: Adapter, running: "asyncio.Task[Any]") -> None:
        own.rollouts.hand_over()
        await asyncio.wait({running}, timeout=0.2)
        assert not running.done()
        slow.go.set()

    slow = Slow()
    async with slow:
        two.service = slow
        result = await two.first(environment(), slow.held.wait(), later)
        assert isinstance(result, HandedBack)
        assert (await two.second(environment())).turns == 3
        assert slow.turns == {two.request.rollout_id: 3}


async def test_a_sample_that_outlasts_the_grace_is_in_doubt_and_is_counted(two: Two) -> None:
    two.service.script("sample", None, Answer(fault="hang"))
    result = await two.first(environment(), two.service.arrived("sample", 2), cut)
    assert isinstance(result, HandedBack)
    assert (await two.second(environment())).turns == 3
    assert two.line["UncertainSamples"] == 1
    assert two.service.count("sample") == 4


async def test_without_a_retry_in_doubt_such_a_rollout_is_sealed(two: Two) -> None:
    two.service.script("sample", None, Answer(fault="hang"))
    result = await two.first(environment(), two.service.arrived("sample", 2), cut, uncertain_retries=0)
    assert (result.stop_reason, result.rewards) == (StopReason.DRAINED, (0.5,))


async def test_without_a_sample_any_rollout_is_handed_back(two: Two) -> None:
    opening = asyncio.Event()

    async def hang() -> None:
        opening.set()
        await asyncio.Event().wait()

    result = await two.first(FakeEnvironment(opening=hang), opening.wait(), handed_over)
    assert isinstance(result, HandedBack)
    assert two.logs.stored == {}
    assert (await two.second(environment(replay="none"))).turns == 3
    assert two.service.count("sample") == 3


async def test_what_cannot_be_resumed_is_finished_inside_the_grace(two: Two) -> None:
    gate = Gate(1)

    async def open_later(own: Adapter, running: "asyncio.Task[Any]") -> None:
        own.rollouts.hand_over()
        await asyncio.wait({running}, timeout=0.2)
        gate.opened.set()

    result = await two.first(environment(gate, replay="none"), gate.reached.wait(), open_later)
    assert result.stop_reason == "answered"
    assert (result.sealed, result.rewards) == ("ready", (0.5,))


RESUME: dict[str, Any] = {"on_crash": "resume"}


async def test_the_log_is_stored_before_the_tool_is_called(two: Two) -> None:
    """So a crash in a tool call leaves nothing in doubt."""
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), crashed, **RESUME)
    outcome = await two.second(environment(), **RESUME)
    assert (outcome.stop_reason, outcome.turns) == (StopReason.ANSWERED, 3)
    assert two.service.count("sample") == 3
    assert two.line["UncertainSamples"] == 0


async def test_a_sample_in_flight_at_a_crash_is_in_doubt(two: Two) -> None:
    two.service.script("sample", None, Answer(fault="hang"))
    await two.first(environment(), two.service.arrived("sample", 2), crashed, **RESUME)
    assert (await two.second(environment(), **RESUME)).turns == 3
    assert (two.line["UncertainSamples"], two.service.count("sample")) == (1, 4)


async def spoil_version(two: Two) -> None:
    (key,) = two.logs.stored
    two.logs.stored[key] = json.dumps(json.loads(two.logs.stored[key]) | {"schema": 2}).encode()


async def spoil_older_version(two: Two) -> None:
    (key,) = two.logs.stored
    two.logs.stored[key] = json.dumps(json.loads(two.logs.stored[key]) | {"schema": 0}).encode()


async def lose(two: Two) -> None:
    two.logs.stored.clear()


async def make_stale(two: Two) -> None:
    (key,) = two.logs.stored
    log = json.loads(two.logs.stored[key])
    two.logs.stored[key] = json.dumps(log | {"entries": []}).encode()


@pytest.mark.parametrize("spoil", [spoil_version, spoil_older_version, lose, make_stale])
@pytest.mark.parametrize("end", [crashed, handed_over])
async def test_a_log_that_does_not_fit_the_ledger_is_not_gone_on_from(two: Two, spoil: Any, end: Any) -> None:
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), end, **RESUME)
    await spoil(two)
    outcome = await two.second(environment(), **RESUME)
    assert (outcome.stop_reason, outcome.sealed) == (StopReason.CRASHED, "failed")
    assert two.service.count("sample") == 2


async def test_another_version_of_the_same_schema_is_gone_on_from(two: Two) -> None:
    """A newer adapter may write more than this one knows of; the schema says whether that matters."""
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    (key,) = two.logs.stored
    log = json.loads(two.logs.stored[key])
    more = {"written_by": "9.9.9", "entries": [entry | {"unknown": [1]} for entry in log["entries"]]}
    two.logs.stored[key] = json.dumps(log | more).encode()
    assert (await two.second(environment())).stop_reason is StopReason.ANSWERED
    assert two.service.count("sample") == 3


async def test_an_older_log_in_place_of_the_one_handed_back_is_noticed(two: Two) -> None:
    """A put of an earlier claim that lands late."""
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    (key,) = two.logs.stored
    log = json.loads(two.logs.stored[key])
    two.logs.stored[key] = json.dumps(log | {"epoch": log["epoch"] - 1}).encode()
    assert (await two.second(environment())).stop_reason is StopReason.CRASHED


@pytest.mark.parametrize(
    ("settings", "stopped"), [({"on_crash": "fail"}, 2), (RESUME | {"uncertain_retries": 0}, 2)]
)
async def test_a_crash_that_may_not_be_resumed_fails(two: Two, settings: Any, stopped: int) -> None:
    two.service.script("sample", None, Answer(fault="hang"))
    await two.first(environment(), two.service.arrived("sample", stopped), crashed, **settings)
    outcome = await two.second(environment(), **settings)
    assert (outcome.stop_reason, outcome.sealed) == (StopReason.CRASHED, "failed")


async def test_turns_that_no_store_took_are_not_sampled_again(two: Two) -> None:
    two.logs.refuses_puts = True
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), crashed, **RESUME)
    two.logs.refuses_puts = False
    assert (await two.second(environment(), **RESUME)).sealed == "failed"
    assert two.service.count("sample") == 2


async def test_a_store_that_is_down_costs_a_rollout_nothing(two: Two) -> None:
    gate = Gate(2)
    two.logs.refuses_puts = True
    gate.opened.set()
    result = await two.first(environment(gate), gate.reached.wait(), lambda *_: asyncio.sleep(0), **RESUME)
    assert (result.stop_reason, result.turns) == (StopReason.ANSWERED, 3)


async def test_a_store_that_comes_back_in_time_gets_the_log(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runtime.log_store.RETRY_SECONDS", 0.01)

    async def back_after_a_while(own: Any, running: asyncio.Task[Any]) -> None:
        await handed_over(own, running)
        await asyncio.sleep(0.2)
        assert not running.done(), "it waits for the store"
        two.logs.refuses_puts = False

    gate = Gate(2)
    two.logs.refuses_puts = True
    result = await two.first(environment(gate), gate.reached.wait(), back_after_a_while)
    assert isinstance(result, HandedBack)
    assert (await two.second(environment())).turns == 3
    assert two.service.count("sample") == 3


@pytest.mark.parametrize("budget", [{}, {"budget": 2.0, "margin": 0.5}])
async def test_a_store_that_stays_down_is_not_waited_for_beyond_the_drain_or_the_deadline(
    two: Two, monkeypatch: pytest.MonkeyPatch, budget: dict[str, float]
) -> None:
    monkeypatch.setattr("adapters.runtime.log_store.RETRY_SECONDS", 60.0)

    async def stays_away(own: Any, running: asyncio.Task[Any]) -> None:
        await handed_over(own, running)
        if not budget:
            await asyncio.sleep(0.2)
            own.rollouts.drain()

    gate = Gate(2)
    two.logs.refuses_puts = True
    result = await two.first(environment(gate), gate.reached.wait(), stays_away, **budget)
    assert (result.sealed, result.turns) == ("ready", 2)


async def test_a_log_that_cannot_be_read_now_is_waited_for(two: Two) -> None:
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    two.logs.refuses_gets = True
    for _ in range(2):
        with pytest.raises(LogOutOfReach, match="OSError: get"):
            await two.second(environment(), max_attempts=1)
    two.logs.refuses_gets = False
    assert (await two.second(environment(), max_attempts=1)).turns == 3  # none of these was an attempt
    assert two.service.count("sample") == 3


async def test_a_resumed_rollout_can_be_handed_over_again_and_again(two: Two) -> None:
    for calls in (1, 2, 2):
        gate = Gate(calls)
        assert isinstance(await two.first(environment(gate), gate.reached.wait(), handed_over), HandedBack)
    assert (await two.second(environment())).turns == 3
    assert two.service.count("sample") == 3


async def test_a_crash_while_replaying_is_resumed_whatever_the_setting(two: Two) -> None:
    """Nothing was sampled since the hand-back, so the log is still whole."""
    gate, again = Gate(2), Gate(1)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    await two.first(environment(again), again.reached.wait(), crashed)
    assert (await two.second(environment())).turns == 3
    assert two.service.count("sample") == 3


async def test_a_crash_after_a_resume_is_a_crash(two: Two) -> None:
    gate, again = Gate(1), Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    await two.first(environment(again), again.reached.wait(), crashed)
    assert (await two.second(environment())).stop_reason is StopReason.CRASHED


async def test_a_tool_that_returns_something_else_diverges(two: Two) -> None:
    gate = Gate(2)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    outcome = await two.second(environment(answers("43")))
    assert (outcome.stop_reason, outcome.sealed) == (StopReason.REPLAY_DIVERGED, "ready")
    assert two.service.count("sample") == 2


async def test_the_log_is_stored_before_the_rollout_is_handed_back(two: Two) -> None:
    held_back = []

    class Looking(Broken):
        async def put(self, request: RolloutRequest, data: bytes) -> None:
            held_back.append(two.item().get("handed_back"))
            await super().put(request, data)

    two.logs = Looking()
    gate = Gate(1)
    await two.first(environment(gate), gate.reached.wait(), handed_over)
    assert held_back == [None]
    assert "owner" not in two.item()
    assert b"TARGET-7" not in b"".join(two.logs.stored.values())


async def test_a_bucket_as_the_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client("s3", url).create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    store = S3LogStore(log_client(REGION), "logs")
    odd = request("../../hacked")
    assert await store.get(odd) is None
    await store.put(odd, b"one")
    await store.put(odd, b"two")
    assert await store.get(odd) == b"two"
    (found,) = client("s3", url).list_objects_v2(Bucket="logs")["Contents"]
    assert found["Key"] == object_key(odd)
    prefix, job, digest = found["Key"].split("/")
    assert (prefix, job, len(digest)) == ("rollout-logs", "desk-1", 64 + len(".json"))
    store.close()

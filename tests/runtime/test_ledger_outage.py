"""A ledger that is down costs no rollout, whatever MTRL_ON_CRASH says: real DynamoDB API, real refusals."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.contract import Outcome, StopReason
from adapters.runtime import patience
from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger
from adapters.runtime.fakes import FakeJobRuntime
from adapters.runtime.ledger import LeaseLost, LedgerUnavailable
from adapters.runtime.rollout import HandedBack
from tests.runtime.dynamo_kit import KEYS, LEASE, Clock, Proxy, connect, item, worker
from tests.runtime.kit import JOB, Adapter, adapter, request
from tests.runtime.log_kit import FITS, Broken, Gate, environment, three_turns

DONE = Outcome(StopReason.ANSWERED, "ready", (0.5,), score=1.0, turns=3)


class Outage:
    """One worker whose ledger goes down at a tool call, and is back when the test says so."""

    def __init__(self, dynamo: Any, proxy: Proxy) -> None:
        self.dynamo, self.proxy = dynamo, proxy
        self.clock, self.request = Clock(), request(next(KEYS))
        self.key = f"{JOB}/{self.request.rollout_id}"
        self.gate = Gate(2)
        self.logs = Broken()
        self.service = FakeJobRuntime(three_turns)

    async def ledger(self) -> DynamoLedger:
        return worker(connect(await self.proxy.start()), self.clock)

    def go_down(self, seconds: float = 0.0) -> None:
        self.proxy.refuse = True
        self.clock.now += seconds
        self.gate.opened.set()

    async def waits(self, own: Adapter, playing: "asyncio.Task[Outcome]", times: int = 1) -> None:
        """Until the ledger was found to be down so often."""
        async with asyncio.timeout(20):
            while len(own.log("ledger_unreachable")) < times:
                assert not playing.done(), playing
                await asyncio.sleep(0.02)

    def reported(self) -> tuple[int, int, int]:
        return tuple(self.service.count(each) for each in ("sample", "complete", "reward"))  # type: ignore[return-value]


@pytest.fixture
async def outage(dynamo: Any, url: str) -> AsyncIterator[Outage]:
    proxy = Proxy(url)
    outage = Outage(dynamo, proxy)
    async with outage.service:
        yield outage
    await proxy.stop()


@pytest.fixture
async def playing(outage: Outage, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Adapter, Any]]:
    """A rollout in its second tool call; settings come from the test's parameter."""
    chosen: dict[str, Any] = FITS | getattr(request, "param", {})
    ledger = await outage.ledger()
    async with adapter(
        outage.service, environment(outage.gate), ledger=ledger, logs=outage.logs, **chosen
    ) as own:
        task = asyncio.create_task(own.rollouts.run(outage.request))
        async with asyncio.timeout(20):
            await outage.gate.reached.wait()
        yield own, task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    ledger.close()


# With `fail` the ledger is written to at the end, with `resume` before every Sample.
EACH = [{"on_crash": "fail"}, {"on_crash": "resume"}]


@pytest.mark.parametrize("playing", EACH, indirect=True, ids=str)
@pytest.mark.parametrize("seconds", [0.0, 2 * LEASE], ids=["holding", "run out"])
async def test_a_rollout_outlasts_an_outage(
    outage: Outage, playing: tuple[Adapter, Any], seconds: float
) -> None:
    own, task = playing
    outage.go_down(seconds)
    await outage.waits(own, task)
    samples, *reports = outage.reported()
    assert samples == (3 if own.rollouts._settings.on_crash == "fail" and not seconds else 2)
    assert reports == [0, 0]  # nothing is reported that is not written down
    outage.proxy.refuse = False
    assert await asyncio.wait_for(task, 30) == DONE
    assert outage.reported() == (3, 1, 1)
    assert own.log("ledger_back")
    assert outage.service.breaches == []
    assert "acknowledged" in item(outage.dynamo, outage.key)


@pytest.mark.parametrize("playing", EACH, indirect=True, ids=str)
async def test_a_rollout_that_was_taken_over_meanwhile_is_let_go(
    outage: Outage, playing: tuple[Adapter, Any]
) -> None:
    own, task = playing
    outage.go_down(2 * LEASE)
    await outage.waits(own, task)
    thief = await worker(outage.dynamo, outage.clock, "two").claim(outage.key)
    assert isinstance(thief, DynamoClaim)
    outage.proxy.refuse = False
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(task, 30)
    assert outage.reported() == (2, 0, 0)
    await thief.release()


async def test_a_hand_over_in_an_outage_waits_for_the_ledger(
    outage: Outage, playing: tuple[Adapter, Any]
) -> None:
    own, task = playing
    outage.proxy.refuse = True
    own.rollouts.hand_over()
    await outage.waits(own, task)
    outage.proxy.refuse = False
    with pytest.raises(HandedBack):
        await asyncio.wait_for(task, 30)
    assert item(outage.dynamo, outage.key)["handed_back"] == {"N": "1"}
    second = worker(outage.dynamo, outage.clock, "two")
    async with adapter(outage.service, environment(), ledger=second, logs=outage.logs, **FITS) as other:
        assert await other.rollouts.run(outage.request) == DONE
    assert outage.reported() == (3, 1, 1)
    second.close()


@pytest.mark.parametrize("playing", [{"on_crash": "resume"}], indirect=True)
async def test_who_waits_for_the_ledger_before_a_sample_can_be_handed_over(
    outage: Outage, playing: tuple[Adapter, Any]
) -> None:
    """Nothing is in flight, so nothing is in doubt: the rollout is left at once, not after the outage."""
    own, task = playing
    outage.go_down()
    await outage.waits(own, task)
    own.rollouts.hand_over()
    await outage.waits(own, task, times=2)  # now it is the hand-back that waits
    outage.proxy.refuse = False
    with pytest.raises(HandedBack):
        await asyncio.wait_for(task, 30)
    assert item(outage.dynamo, outage.key)["sampled"] == {"N": "2"}
    assert outage.reported() == (2, 0, 0)


@pytest.mark.parametrize("playing", [{"budget": 1.5, "margin": 0.1}], indirect=True)
async def test_patience_ends_with_the_time_for_the_report(
    outage: Outage, playing: tuple[Adapter, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, task = playing
    monkeypatch.setattr(patience, "REPORT_GRACE_SECONDS", 0.5)
    outage.go_down()
    with pytest.raises(LedgerUnavailable):
        await asyncio.wait_for(task, 30)
    assert outage.reported()[1:] == (0, 0)

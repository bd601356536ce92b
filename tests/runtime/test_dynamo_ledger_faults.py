"""The lease under faults: lost requests and answers, pauses, cancellation. Only the test moves the clocks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger
from adapters.runtime.lease import CHECK_MARGIN_SECONDS, ConditionFailed
from adapters.runtime.ledger import LeaseInDoubt, LeaseLost
from tests.runtime.dynamo_kit import (
    KEYS,
    LEASE,
    OUTCOME,
    REQUEST,
    Clock,
    Proxy,
    Slow,
    claimed,
    connect,
    heartbeats,
    item,
    worker,
)


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    yield proxy
    await proxy.stop()


async def test_the_heartbeat_keeps_the_lease(dynamo: Any, clock: Clock, key: str) -> None:
    claim = await claimed(worker(dynamo, clock), key)
    for _ in range(12):
        await clock.beat(LEASE / 3)
        claim.check(REQUEST)
    assert await worker(dynamo, clock, "two").claim(key) is None
    assert set(clock.pauses) == {LEASE / 3}
    await claim.release()


async def test_lost_by_condition(dynamo: Any, clock: Clock, key: str) -> None:
    claim = await claimed(worker(dynamo, clock), key)
    thief = await claimed(worker(dynamo, Clock(now=clock.now + 200), "two"), key)
    claim.check(REQUEST)  # its own clock says that all is well
    await clock.beat(LEASE / 3)
    with pytest.raises(LeaseLost):
        claim.check(0)
    assert len(heartbeats()) == 1
    await thief.release()


async def test_lost_by_the_clock_alone(proxy: Proxy, clock: Clock, key: str) -> None:
    ledger = worker(connect(await proxy.start()), clock)
    claim = await claimed(ledger, key)
    proxy.refuse = True
    await clock.beat(LEASE / 3)
    claim.check(REQUEST)
    assert clock.pauses[-1] < LEASE / 10  # soon again
    clock.now += LEASE * 2 / 3 - REQUEST - 5 - 0.01
    claim.check(REQUEST)
    clock.now += 0.02
    with pytest.raises(LeaseLost):
        claim.check(REQUEST)
    claim.check(0)
    await clock.beat(REQUEST + 5)
    with pytest.raises(LeaseInDoubt):
        claim.check(-CHECK_MARGIN_SECONDS)
    proxy.refuse = False
    await claim.release()


async def test_a_lease_that_ran_out_is_taken_up_again(proxy: Proxy, clock: Clock, key: str) -> None:
    """By the heartbeat, under the same epoch, long after the time of a takeover: nobody took over."""
    claim = await claimed(worker(connect(await proxy.start()), clock), key)
    proxy.refuse = True
    await clock.beat(2 * LEASE)
    with pytest.raises(LeaseInDoubt):
        claim.check(0)
    proxy.refuse = False
    await clock.beat(LEASE / 30)
    claim.check(REQUEST)
    assert await worker(connect(await proxy.start()), clock, "two").claim(key) is None
    await claim.release()


async def test_a_lease_that_ran_out_and_was_taken_over_is_lost(
    proxy: Proxy, dynamo: Any, clock: Clock, key: str
) -> None:
    claim = await claimed(worker(connect(await proxy.start()), clock), key)
    proxy.refuse = True
    await clock.beat(2 * LEASE)
    proxy.refuse = False
    thief = await claimed(worker(dynamo, clock, "two"), key)
    for call in (claim.record(OUTCOME), claim.renew(), claim.sampling(1), claim.hand_back(1, logged=True)):
        with pytest.raises(LeaseLost):
            await call
    with pytest.raises(LeaseLost) as lost:
        claim.check(0)
    assert not isinstance(lost.value, LeaseInDoubt)
    await claim.release()
    assert item(dynamo, key)["owner"]["S"] == "two"
    await thief.release()


async def test_a_hand_back_that_failed_can_be_repeated(proxy: Proxy, clock: Clock, key: str) -> None:
    ledger = worker(connect(await proxy.start()), clock)
    claim = await claimed(ledger, key)
    proxy.refuse = True
    with pytest.raises(BotoCoreError):
        await claim.hand_back(3, logged=True)
    proxy.refuse = False
    await clock.beat(LEASE / 3)  # it holds the rollout still
    claim.check(REQUEST)
    await claim.hand_back(3, logged=True)
    await claim.release()
    again = await claimed(ledger, key)
    assert (again.begun, again.handed_back, again.attempt) == (3, 1, 1)
    await again.release()


async def test_a_claim_whose_answers_were_lost_is_recognized(proxy: Proxy, clock: Clock, key: str) -> None:
    """By the next try; its lease counts from a renewal, because the table may know an earlier end."""
    ledger = worker(connect(await proxy.start()), clock)
    proxy.lose_answers = 3
    with pytest.raises(BotoCoreError):
        await ledger.claim(key)
    clock.now += LEASE - 1
    claim = await claimed(ledger, key)
    assert (claim.epoch, claim.attempt) == (1, 1)
    with pytest.raises(LeaseInDoubt):
        claim.check(0)
    await claim.renew()
    claim.check(REQUEST)
    await claim.release()


async def test_a_late_count_of_samples_hides_none(dynamo: Any, clock: Clock, key: str) -> None:
    ledger = worker(dynamo, clock)
    claim = await claimed(ledger, key)
    await claim.sampling(1)
    await claim.sampling(2)
    with pytest.raises(ConditionFailed):
        ledger.table.sampling(claim._hold, 1)
    assert item(dynamo, key)["sampled"] == {"N": "2"}
    await claim.release()


async def test_a_renewal_that_failed_is_repeated(proxy: Proxy, clock: Clock, key: str) -> None:
    claim = await claimed(worker(connect(await proxy.start()), clock), key)
    proxy.refuse = True
    await clock.beat(LEASE / 3)
    proxy.refuse = False
    await clock.beat(LEASE / 30)
    assert clock.pauses[-2:] == [LEASE / 30, LEASE / 3]
    clock.now += LEASE / 2
    claim.check(0)
    await claim.release()


async def test_the_lease_counts_from_before_the_request(dynamo: Any, clock: Clock, key: str) -> None:
    start = clock.now
    claim = await claimed(worker(Slow(dynamo, clock, 7), clock), key)
    assert claim._left() == LEASE - 7
    assert float(item(dynamo, key)["lease_ends"]["N"]) == clock.wall_offset + start + LEASE
    await clock.beat(LEASE / 3)
    assert claim._left() == LEASE - 7
    await claim.release()


async def test_a_late_renewal_brings_nothing_back(dynamo: Any, clock: Clock, key: str) -> None:
    ledger = worker(dynamo, clock)
    claim = await claimed(ledger, key)
    await clock.beat(LEASE / 3)
    await clock.beat(LEASE / 3)
    ends = item(dynamo, key)["lease_ends"]
    with pytest.raises(ConditionFailed):  # held up on its way, and overtaken
        ledger.table.renew(claim._hold, 1, clock.wall())
    assert item(dynamo, key)["lease_ends"] == ends
    await claim.release()
    with pytest.raises(ConditionFailed):
        ledger.table.renew(claim._hold, 9, clock.wall() + 9999)
    await claimed(worker(dynamo, clock, "two"), key)


async def test_every_write_survives_a_lost_answer(proxy: Proxy, dynamo: Any, clock: Clock, key: str) -> None:
    """The client repeats a write that took effect already."""
    ledger = worker(connect(await proxy.start()), clock)
    proxy.lose_answers = 1
    claim = await claimed(ledger, key)
    assert (claim.attempt, claim.epoch) == (1, 1)
    for write in (
        claim.sampling(1),
        claim.record(OUTCOME),
        claim.renew(),
        claim.acknowledge(),
    ):
        proxy.lose_answers = 1
        await write
        assert proxy.lose_answers == 0
    claim.check(REQUEST)
    await claim.release()
    assert await ledger.claim(key) == OUTCOME


async def test_a_lost_answer_to_a_release(proxy: Proxy, dynamo: Any, clock: Clock, key: str) -> None:
    claim = await claimed(worker(connect(await proxy.start()), clock), key)
    proxy.lose_answers = 1
    await claim.release()
    await claimed(worker(dynamo, clock, "two"), key)


async def test_errors_of_the_table_come_through(proxy: Proxy, dynamo: Any, clock: Clock, key: str) -> None:
    missing = DynamoLedger(dynamo, "missing", owner="one", request_timeout=REQUEST)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        await missing.claim(key)
    ledger = worker(connect(await proxy.start()), clock)
    claim = await claimed(ledger, key)
    proxy.refuse = True
    for call in (claim.record(OUTCOME), claim.acknowledge(), claim.sampling(1), ledger.claim(key)):
        with pytest.raises(BotoCoreError):
            await call
    claim.check(REQUEST)  # an error is no loss
    await claim.release()
    assert not heartbeats()


async def test_the_event_loop_goes_on(proxy: Proxy, clock: Clock, key: str) -> None:
    ledger = worker(connect(await proxy.start()), clock)
    proxy.open.clear()
    claiming = asyncio.create_task(ledger.claim(key))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not claiming.done()
    proxy.open.set()
    claim = await claiming
    assert isinstance(claim, DynamoClaim)
    await claim.release()


async def test_a_cancelled_release_leaves_no_heartbeat(dynamo: Any, clock: Clock, key: str) -> None:
    claim = await claimed(worker(dynamo, clock), key)
    releasing = asyncio.create_task(claim.release())
    await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.gather(releasing, return_exceptions=True)
    await asyncio.sleep(0)
    assert not heartbeats()


def test_a_loop_that_ends_ends_the_heartbeat(dynamo: Any, clock: Clock) -> None:
    found: list[asyncio.Task[Any]] = []

    async def abandon() -> None:
        await claimed(worker(dynamo, clock), next(KEYS))
        found.extend(heartbeats())

    asyncio.run(abandon())
    assert [task.cancelled() for task in found] == [True]

"""The shared ledger over a real DynamoDB API: who gets a rollout, and what is kept of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Outcome, StopReason
from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger
from adapters.runtime.lease import decode, encode
from adapters.runtime.ledger import Claim, LeaseLost, Ledger
from tests.runtime.dynamo_kit import (
    LEASE,
    OUTCOME,
    REQUEST,
    SKEW,
    Clock,
    claimed,
    heartbeats,
    item,
    worker,
)


async def test_of_64_racing_claims_one_wins(dynamo: Any, clock: Clock, key: str) -> None:
    ledgers = [worker(dynamo, clock, f"worker-{n}") for n in range(8)]
    claims = await asyncio.gather(*(ledger.claim(key) for ledger in ledgers for _ in range(8)))
    (winner,) = (claim for claim in claims if isinstance(claim, DynamoClaim))
    assert (winner.attempt, winner.epoch) == (1, 1)
    assert item(dynamo, key)["epoch"] == {"N": "1"}


async def test_one_process_gets_one_claim_on_a_key(dynamo: Any, clock: Clock, key: str) -> None:
    ledger = worker(dynamo, clock)
    claims = await asyncio.gather(ledger.claim(key), ledger.claim(key))
    assert sum(claim is not None for claim in claims) == 1


async def test_a_takeover_waits_for_the_last_request_and_the_skew(
    dynamo: Any, clock: Clock, key: str
) -> None:
    first, second = worker(dynamo, clock), worker(dynamo, clock, "two")
    await claimed(first, key)
    assert first.takeover_seconds == LEASE + REQUEST + SKEW
    clock.now += LEASE + 1
    assert await second.claim(key) is None
    clock.now += REQUEST + SKEW - 1.1
    assert await second.claim(key) is None
    clock.now += 0.2
    taken = await claimed(second, key)
    assert (taken.attempt, taken.epoch) == (2, 2)
    assert item(dynamo, key)["owner"] == {"S": "two"}


@pytest.mark.parametrize(
    "write",
    [lambda claim: claim.record(OUTCOME), lambda claim: claim.acknowledge(), lambda claim: claim.sampling(1)],
    ids=["record", "acknowledge", "sampling"],
)
async def test_a_stale_owner_writes_nothing(
    dynamo: Any, clock: Clock, key: str, write: Callable[[Claim], Any]
) -> None:
    first, second = worker(dynamo, clock), worker(dynamo, Clock(now=clock.now + 200), "two")
    stale, taken = await claimed(first, key), await claimed(second, key)
    before = item(dynamo, key)
    with pytest.raises(LeaseLost):
        await write(stale)
    with pytest.raises(LeaseLost):
        stale.check(0)
    await stale.release()
    assert item(dynamo, key) == before
    await write(taken)


@pytest.mark.parametrize("name", ["one", "two"])
async def test_a_stale_release_leaves_the_successor_alone(
    dynamo: Any, clock: Clock, key: str, name: str
) -> None:
    """Also one of the same owner: the epoch tells them apart."""
    stale = await claimed(worker(dynamo, clock), key)
    await claimed(worker(dynamo, Clock(now=clock.now + 200), name), key)
    before = item(dynamo, key)
    await stale.release()
    assert item(dynamo, key) == before


async def test_an_outcome_comes_back_as_it_was(dynamo: Any, clock: Clock, key: str) -> None:
    first = await claimed(worker(dynamo, clock), key)
    assert first.outcome is None
    await first.sampling(1)
    await first.record(OUTCOME)
    await first.record(OUTCOME)
    assert first.outcome == OUTCOME
    await first.release()
    again = await claimed(worker(dynamo, clock, "two"), key)
    assert again.outcome == OUTCOME
    assert again.attempt == 2
    assert not again.crashed
    with pytest.raises(LeaseLost):
        await again.record(Outcome(StopReason.CRASHED, "failed", ()))


@given(
    st.builds(
        Outcome,
        st.sampled_from(StopReason),
        st.sampled_from(("ready", "failed")),
        st.lists(st.floats(-1, 1)).map(tuple),
        st.booleans(),
        st.none() | st.floats(0, 1),
        st.integers(0, 10_000),
    )
)
def test_any_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    back = decode(encode(outcome))
    assert back == outcome
    assert isinstance(back.stop_reason, StopReason)


async def test_what_is_acknowledged_is_answered_and_never_claimed_again(
    dynamo: Any, clock: Clock, key: str
) -> None:
    ledger, other = worker(dynamo, clock), worker(dynamo, clock, "two")
    claim = await claimed(ledger, key)
    await claim.record(OUTCOME)
    assert await other.claim(key) is None  # written down, but not reported yet
    await claim.acknowledge()
    assert await other.claim(key) == OUTCOME
    await claim.release()
    clock.now += 10 * LEASE
    assert await ledger.claim(key) == OUTCOME


async def test_a_released_rollout_is_free_at_once(dynamo: Any, clock: Clock, key: str) -> None:
    ledger = worker(dynamo, clock)
    for attempt in range(1, 5):
        claim = await claimed(ledger, key)
        assert claim.attempt == attempt
        await claim.release()
        with pytest.raises(LeaseLost):
            claim.check(-LEASE)
    assert not heartbeats()


async def test_a_crash_after_a_sample_is_seen(dynamo: Any, clock: Clock, key: str) -> None:
    first = await claimed(worker(dynamo, clock), key)
    assert not first.crashed
    await first.sampling(1)
    assert not first.crashed
    clock.now += 200
    second = await claimed(worker(dynamo, clock, "two"), key)
    assert second.crashed
    assert not second.log.samples


async def test_a_crash_before_a_sample_is_none(dynamo: Any, clock: Clock, key: str) -> None:
    await claimed(worker(dynamo, clock), key)
    clock.now += 200
    assert not (await claimed(worker(dynamo, clock, "two"), key)).crashed


async def test_what_an_item_holds(dynamo: Any, clock: Clock, key: str) -> None:
    claim = await claimed(worker(dynamo, clock, retention=1000.5), key)
    assert item(dynamo, key)["expires_on"] == {"N": str(int(clock.wall() + 1000.5))}
    await claim.sampling(1)
    await claim.record(OUTCOME)
    await claim.acknowledge()
    await claim.release()
    assert set(item(dynamo, key)) == {
        *("rollout", "owner", "token", "epoch", "attempt", "lease_ends", "renewal", "expires_on"),
        *("sampled", "outcome", "acknowledged"),
    }
    assert item(dynamo, key)["rollout"] == {"S": key}


@pytest.mark.parametrize(
    "terms", [{"lease": 50.0}, {"lease": float("nan")}, {"skew": -1.0}, {"retention": 60.0}]
)
def test_terms_that_cannot_work(dynamo: Any, clock: Clock, terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lease"):
        DynamoLedger(dynamo, "ledger", owner="one", request_timeout=REQUEST, **terms)


def test_a_request_of_any_length_fits_the_default_lease(dynamo: Any) -> None:
    for seconds in (0.1, 1, 60, 300, 3600):
        ledger: Ledger = DynamoLedger(dynamo, "ledger", owner="one", request_timeout=seconds)
        assert ledger


def test_the_client_gives_up_early(dynamo: Any) -> None:
    config = dynamo.meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert config.connect_timeout + config.read_timeout <= 5

"""The lease protocol against a model: three workers, one table, and a network that does what it likes.

The table is a small one in memory, which evaluates the conditions that the ledger really sends. Time passes
for all workers at once, but each renews only when the machine says so: a long wait is a pause. Their wall
clocks differ by up to the skew. A request may be lost, take effect unheard, or take effect much later.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.contract import Outcome, StopReason
from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger
from adapters.runtime.lease import CHECK_MARGIN_SECONDS, decode
from adapters.runtime.ledger import LeaseLost
from tests.runtime.dynamo_kit import Request, Table, holds

T = TypeVar("T")
REQUEST, SKEW = 20.0, 6.0
OFFSETS = (1e9 - SKEW / 2, 1e9, 1e9 + SKEW / 2)


class Network:
    """One worker's client of the table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.mishap = "none"
        self.held_up: list[Request] = []

    def update_item(self, **request: Any) -> Any:
        mishap, self.mishap = self.mishap, "none"
        if mishap in ("none", "unheard", "repeated"):
            answer = self.table.update(request)
            if mishap == "none":
                return answer
        if mishap == "repeated":  # the client's own retry, after an answer that was lost
            return self.table.update(request)
        if mishap == "late":
            self.held_up.append(request)
        raise ReadTimeoutError(endpoint_url="table")


async def never(_: float) -> None:
    await asyncio.Event().wait()


class Worker:
    def __init__(self, table: Table, number: int, clock: Callable[[], float]) -> None:
        self.network = Network(table)
        self.claim: DynamoClaim | None = None
        self.busy_until = 0.0
        self.ledger = DynamoLedger(
            self.network,
            "ledger",
            owner=f"worker-{number}",
            request_timeout=REQUEST,
            skew=SKEW,
            monotonic=lambda: clock() + number * 1e4,
            wall_clock=lambda: clock() + OFFSETS[number],
            sleep=never,
        )

    def passes(self, seconds: float) -> bool:
        try:
            assert self.claim
            self.claim.check(seconds)
        except (AssertionError, LeaseLost):
            return False
        return True


LEASE = 2 * REQUEST + 30
WORKERS = st.integers(0, len(OFFSETS) - 1)
MISHAPS = st.sampled_from(["none"] * 6 + ["lost", "unheard", "repeated", "late"])


def anyone(machine: "LeaseMachine") -> bool:
    return any(worker.claim for worker in machine.workers)


class LeaseMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1e4
        self.table = Table()
        self.loop = asyncio.new_event_loop()
        self.workers = [Worker(self.table, n, lambda: self.now) for n in range(len(OFFSETS))]

    def teardown(self) -> None:
        for worker in self.workers:
            if worker.claim:
                self.run(worker.claim.release())
            worker.ledger.close()
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do it; None for a lease that is lost, or an answer that never came."""
        try:
            return self.loop.run_until_complete(work)
        except (LeaseLost, ReadTimeoutError):
            return None

    @rule(
        seconds=st.sampled_from(
            [0.5, SKEW, REQUEST, LEASE / 3, LEASE / 3, LEASE - 1, LEASE + 7, LEASE + REQUEST + SKEW]
        )
    )
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(anyone)
    @rule(number=WORKERS)
    def wait_until_a_takeover_is_just_allowed(self, number: int) -> None:
        ended = float(self.table.item["lease_ends"]["N"]) - OFFSETS[number]
        self.now = max(self.now, ended + REQUEST + SKEW + 0.01)

    @rule(number=WORKERS, mishap=MISHAPS, wait=st.sampled_from([0.0, REQUEST + SKEW, 35.0, 44.0, LEASE]))
    def take(self, number: int, mishap: str, wait: float) -> None:
        self.now += wait
        worker = self.workers[number]
        if worker.claim is not None and worker.passes(0):
            return
        acknowledged = "acknowledged" in self.table.item
        worker.network.mishap = mishap
        claim = self.run(worker.ledger.claim("rollout"))
        if claim is None:
            return
        if isinstance(claim, Outcome):
            assert acknowledged
            assert claim == self.stored()
            return
        if worker.claim:
            self.run(worker.claim.release())
        worker.claim = claim
        assert not acknowledged
        for other in self.workers:
            assert other is worker or self.now >= other.busy_until, "a request of another was under way"
        assert claim.outcome == self.stored()

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS)
    def renew(self, number: int, mishap: str) -> None:
        self.write(number, mishap, lambda claim: claim.renew())

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS, at_the_last_moment=st.booleans())
    def request(self, number: int, mishap: str, at_the_last_moment: bool) -> None:
        """Start a Sample, as a rollout does: the process may halt after the check, then it takes its time."""
        worker = self.holder(number)
        if at_the_last_moment and worker.claim:
            self.now += max(0.0, worker.claim._left() - REQUEST - CHECK_MARGIN_SECONDS - 0.01)
        self.write(number, mishap, lambda claim: claim.sampling(1))
        if worker.passes(REQUEST):
            worker.busy_until = self.now + CHECK_MARGIN_SECONDS + 2 * REQUEST

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS)
    def record(self, number: int, mishap: str) -> None:
        claim = self.holder(number).claim
        if claim is not None and claim.outcome is None:
            outcome = Outcome(StopReason.ANSWERED, "ready", (claim.epoch / 100,))
            self.write(number, mishap, lambda claim: claim.record(outcome))

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS)
    def acknowledge(self, number: int, mishap: str) -> None:
        claim = self.holder(number).claim
        if claim is not None and claim.outcome is not None:
            self.write(number, mishap, lambda claim: claim.acknowledge())

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS)
    def release(self, number: int, mishap: str) -> None:
        worker = self.holder(number)
        if worker.claim is not None:
            worker.busy_until = 0.0  # a worker gives up what it works on before it lets go
            self.write(number, mishap, lambda claim: claim.release())
            worker.claim = None

    @precondition(anyone)
    @rule(number=WORKERS, mishap=MISHAPS, begun=st.integers(0, 5))
    def hand_back(self, number: int, mishap: str, begun: int) -> None:
        worker = self.holder(number)
        if worker.claim is not None:
            worker.busy_until = 0.0
            self.write(number, mishap, lambda claim: claim.hand_back(begun, logged=True))
            self.run(worker.claim.release())
            worker.claim = None

    @precondition(lambda self: any(worker.network.held_up for worker in self.workers))
    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        """A request that its sender gave up reaches the table after all."""
        held_up = data.draw(st.sampled_from([w.network.held_up for w in self.workers if w.network.held_up]))
        request = held_up.pop(data.draw(st.integers(0, len(held_up) - 1)))
        with contextlib.suppress(ClientError):
            self.table.update(request)

    def holder(self, number: int) -> Worker:
        """One of the workers that have a claim, be it a stale one."""
        holders = [worker for worker in self.workers if worker.claim]
        return holders[number % len(holders)]

    def write(
        self, number: int, mishap: str, call: Callable[[DynamoClaim], Coroutine[Any, Any, None]]
    ) -> None:
        worker = self.holder(number)
        if worker.claim is not None:
            worker.network.mishap = mishap
            self.run(call(worker.claim))
            worker.network.mishap = "none"

    def stored(self) -> Outcome | None:
        text = self.table.item.get("outcome")
        return decode(text["S"]) if text else None

    @invariant()
    def at_most_one_may_work(self) -> None:
        assert sum(worker.passes(0) for worker in self.workers) <= 1

    @invariant()
    def epochs_only_rise(self) -> None:
        epochs = [int(item.get("epoch", {"N": 0})["N"]) for item in self.table.history]
        assert all(after - before in (0, 1) for before, after in itertools.pairwise(epochs))

    @invariant()
    def a_hand_back_stands_until_a_sample_is_begun(self) -> None:
        for before, after in itertools.pairwise(self.table.history):
            if "handed_back" in before and "handed_back" in after:
                assert before["sampled"] == after["sampled"] or before["handed_back"] != after["handed_back"]
            if "handed_back" in after and before.get("handed_back") != after["handed_back"]:
                assert after["handed_back"] == after["epoch"]
                assert "owner" not in after

    @invariant()
    def at_most_one_outcome(self) -> None:
        outcomes = {item["outcome"]["S"] for item in self.table.history if "outcome" in item}
        assert len(outcomes) <= 1

    @invariant()
    def the_end_is_the_end(self) -> None:
        """After the acknowledgement the epoch stands still."""
        done = [item["epoch"] for item in self.table.history if "acknowledged" in item]
        assert not done or done.count(done[0]) == len(done)


LeaseMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, derandomize=True
)
TestLease = LeaseMachine.TestCase


def test_the_table_reads_conditions_as_dynamodb_does() -> None:
    one, two = {"S": "1"}, {"S": "2"}
    item, values = {"a": one, "n": {"N": "9"}}, {":a": one, ":b": two, ":n": {"N": "10"}}
    for condition, expected in {
        "#a = :a": True,
        "#a = :b": False,
        "#x = :a": False,
        "#n < :n": True,  # as numbers
        "#n <= :n AND #a = :b": False,
        "attribute_not_exists(#x) AND (attribute_not_exists(#a) OR #a = :a)": True,
        "attribute_not_exists(#a) AND (attribute_not_exists(#x) OR #a = :a)": False,
        "#a = :b AND #a = :a OR #a = :a": True,
    }.items():
        assert holds(condition, item, values) is expected, condition

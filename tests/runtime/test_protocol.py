"""The protocol of a rollout in simulation: nothing lost, nothing twice, nothing mixed; and the eye for it.

Each fault planted below takes away one thing that a guarantee rests on, and must be seen within some seeds.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from adapters.contract import Outcome
from adapters.runtime import lease
from adapters.runtime.dynamo_ledger import DynamoClaim
from adapters.runtime.lease import ConditionFailed, Hold, LeaseTable, Terms
from adapters.runtime.ledger import LeaseInDoubt, LeaseLost
from adapters.runtime.log_store import LogKeeper
from adapters.runtime.patience import PatientClaim
from adapters.runtime.reporting import Reporter, Run
from tests.runtime.simulation import Simulation, simulate

SEEDS = 100
Patch = pytest.MonkeyPatch


def test_nothing_is_lost_doubled_or_mixed() -> None:
    for seed in range(SEEDS):
        assert simulate(seed) == [], f"simulate({seed})"


def test_a_seed_is_a_simulation() -> None:
    one, two = Simulation(7), Simulation(7)
    assert one.run() == two.run()
    assert one.table.history[-1].keys() == two.table.history[-1].keys()
    assert one.service == two.service


FAULTS: list[Callable[[Patch], None]] = []


def fault(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
    FAULTS.append(plant)
    return plant


def rewrite(patch: Patch, method: str, change: Callable[[str, str], tuple[str, str]]) -> None:
    """Change the update and the condition that one method of the table sends."""
    right = getattr(LeaseTable, method)
    update = LeaseTable._update

    def wrong(self: LeaseTable, *args: Any, **more: Any) -> Any:
        def changed(self: LeaseTable, key: str, text: str, condition: str, values: Any) -> Any:
            text, condition = change(text, condition)
            used = {name: value for name, value in values.items() if name in (text + " " + condition)}
            return update(self, key, text, condition, used)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(LeaseTable, "_update", changed)
            return right(self, *args, **more)

    patch.setattr(LeaseTable, method, wrong)


@fault
def no_owner_in_the_condition(patch: Patch) -> None:
    patch.setattr(lease, "HELD", "#epoch = :epoch")


@fault
def no_epoch_in_the_condition(patch: Patch) -> None:
    held = "#owner = :owner AND #epoch = :epoch"
    for method in ("renew", "sampling", "record", "acknowledge", "release", "hand_back"):
        rewrite(patch, method, lambda text, fence: (text, fence.replace(held, "attribute_not_exists(#x)")))


@fault
def the_epoch_stands_still(patch: Patch) -> None:
    rewrite(patch, "take", lambda text, held: (text.replace("#epoch :one", "#epoch :zero"), held))


@fault
def a_takeover_without_grace(patch: Patch) -> None:
    patch.setattr(Terms, "grace", property(lambda _: 0.0))


@fault
def a_claim_whoever_holds_the_lease(patch: Patch) -> None:
    rewrite(patch, "take", lambda text, _: (text, "attribute_not_exists(#acknowledged)"))


@fault
def a_record_without_a_fence(patch: Patch) -> None:
    rewrite(patch, "record", lambda text, _: (text, "attribute_not_exists(#x)"))


@fault
def acknowledged_before_it_is_reported(patch: Patch) -> None:
    report = Reporter.report

    async def wrong(self: Reporter, run: Run, outcome: Outcome, *, again: bool) -> None:
        await run.claim.acknowledge()
        await report(self, run, outcome, again=again)

    patch.setattr(Reporter, "report", wrong)


@fault
def reported_before_it_is_written_down(patch: Patch) -> None:
    async def wrong(self: Reporter, run: Run, outcome: Outcome, started: float | None = None) -> Outcome:
        await self.report(run, outcome, again=False)
        await run.claim.record(outcome)
        return outcome

    patch.setattr(Reporter, "settle", wrong)


@fault
def a_renewal_without_its_number(patch: Patch) -> None:
    rewrite(patch, "renew", lambda text, _: (text, lease.HELD))


@fault
def no_look_at_the_lease(patch: Patch) -> None:
    async def hold(self: PatientClaim, seconds: float) -> None: ...

    patch.setattr(PatientClaim, "hold", hold)


@fault
def a_lease_in_doubt_is_taken_for_held(patch: Patch) -> None:
    check = DynamoClaim.check

    def wrong(self: DynamoClaim, seconds: float) -> None:
        try:
            check(self, seconds)
        except LeaseInDoubt:
            return

    patch.setattr(DynamoClaim, "check", wrong)


@fault
def a_lease_that_ran_out_is_given_up(patch: Patch) -> None:
    check = DynamoClaim.check

    def wrong(self: DynamoClaim, seconds: float) -> None:
        try:
            check(self, seconds)
        except LeaseInDoubt:
            raise LeaseLost("as it was") from None

    patch.setattr(DynamoClaim, "check", wrong)


@fault
def a_write_is_tried_once(patch: Patch) -> None:
    async def wrong(self: PatientClaim, call: Any, until: float | None = None) -> Any:
        return await call()

    patch.setattr(PatientClaim, "_persist", wrong)


@fault
def a_refused_write_is_taken_for_done(patch: Patch) -> None:
    write = DynamoClaim._write

    async def wrong(self: DynamoClaim, call: Any) -> Any:
        def forgiving(hold: Hold) -> Any:
            try:
                return call(hold)
            except ConditionFailed:
                return self._ledger.monotonic() + self._ledger.terms.lease

        return await write(self, forgiving)

    patch.setattr(DynamoClaim, "_write", wrong)


@fault
def a_hand_back_that_keeps_the_owner(patch: Patch) -> None:
    rewrite(patch, "hand_back", lambda text, held: (text.replace("REMOVE #owner", ""), held))


@fault
def a_hand_back_that_leaves_the_count(patch: Patch) -> None:
    rewrite(patch, "hand_back", lambda text, held: (text.replace("#sampled = :begun, ", ""), held))


@fault
def a_hand_back_that_stands_after_a_sample(patch: Patch) -> None:
    rewrite(patch, "sampling", lambda text, held: (text.replace("REMOVE #handed_back", ""), held))


@fault
def a_hand_back_before_the_log_is_stored(patch: Patch) -> None:
    async def wrong(self: LogKeeper) -> bool:
        self.logged = True
        return True

    patch.setattr(LogKeeper, "leave", wrong)


@fault
def a_crash_that_is_not_remembered(patch: Patch) -> None:
    async def wrong(self: DynamoClaim, begun: int) -> None: ...

    patch.setattr(DynamoClaim, "sampling", wrong)


@fault
def a_count_of_samples_that_may_fall(patch: Patch) -> None:
    rewrite(patch, "sampling", lambda text, _: (text, lease.HELD))


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_seen(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    assert any(map(simulate, itertools.islice(itertools.count(), 4 * SEEDS)))

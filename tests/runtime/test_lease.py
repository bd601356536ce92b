"""A rollout whose lease is lost, or whose ledger is gone, says nothing more to the service."""

import pytest

from adapters.contract import Outcome
from adapters.runtime import patience
from adapters.runtime.fakes import Answer, FakeJobRuntime
from adapters.runtime.ledger import LeaseLost, LedgerUnavailable, MemoryClaim, MemoryLedger
from tests.runtime.kit import adapter, request


class LosingLedger(MemoryLedger):
    """Its claims are lost after so many checks; `trouble` is what every write raises."""

    def __init__(self, checks: int, trouble: Exception | None = None) -> None:
        super().__init__()
        self.checks = checks
        self.trouble = trouble

    async def claim(self, key: str) -> MemoryClaim | None:
        claim = await super().claim(key)
        assert isinstance(claim, MemoryClaim)
        ledger = self

        class Losing(MemoryClaim):
            def check(self, seconds: float) -> None:
                if seconds:  # a check before a request; `record` and `sampling` are fenced by themselves
                    ledger.checks -= 1
                    if ledger.checks < 0:
                        raise LeaseLost(key)

            async def sampling(self, begun: int) -> None:
                if ledger.trouble is not None:
                    raise ledger.trouble

            async def record(self, outcome: Outcome) -> None:
                await self.sampling(0)
                await super().record(outcome)

        return Losing(self, key, claim._entry)


async def test_a_lost_lease_ends_the_work_without_a_word_to_the_service() -> None:
    """Also between two attempts of one Sample: the retry is not made."""
    async with FakeJobRuntime() as service:
        service.script("sample", Answer(status=429), Answer(status=429))
        async with adapter(service, ledger=LosingLedger(2)) as parts:
            with pytest.raises(LeaseLost):
                await parts.rollouts.run(request())
        assert (service.count("sample"), service.count("complete"), service.count("reward")) == (2, 0, 0)


async def test_a_lease_that_is_lost_before_the_seal_seals_nothing() -> None:
    async with FakeJobRuntime() as service, adapter(service, ledger=LosingLedger(1)) as parts:
        with pytest.raises(LeaseLost):
            await parts.rollouts.run(request())
        assert (service.count("sample"), service.count("complete")) == (1, 0)


async def test_without_the_ledger_nothing_is_sampled_and_nothing_is_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even when the time of the episode is over: then there is an outcome, but nowhere to write it."""
    monkeypatch.setattr(patience, "REPORT_GRACE_SECONDS", 0.2)
    ledger = LosingLedger(99, trouble=OSError("unreachable"))
    async with (
        FakeJobRuntime() as service,
        adapter(service, ledger=ledger, budget=0.5, margin=0.1) as parts,
    ):
        with pytest.raises(LedgerUnavailable):
            await parts.rollouts.run(request())
        assert service.seen == []
        assert len(parts.log("ledger_unreachable")) == 2

"""The rollout ledger: who works on a rollout, and what came of it.

A claim is a lease. The outcome is written here before it is reported, so that a report whose answer was
lost is recognized when it comes back as a conflict. `MemoryLedger` serves one process (the HTTP entrypoint,
a laptop, tests); a shared ledger has the same two protocols.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from adapters.contract import Outcome, RolloutError
from adapters.runtime.rollout_log import RolloutLog

T = TypeVar("T")
REMEMBERED = 20_000
"""Rollouts that a MemoryLedger keeps: so many acknowledged ones, to answer a late duplicate without work, and
so many that are to be gone on with, or reported, if somebody asks again. The oldest are forgotten first."""

UNCOUNTED = 1_000_000
"""Samples begun, where nobody counts them: more than any log can account for."""


class LeaseLost(RolloutError):
    """The claim has passed, or may pass during the request, to another worker."""


class LeaseInDoubt(LeaseLost):
    """The lease ends too early for the request, or ended: only a renewal can say whether the claim holds."""


class LedgerUnavailable(RolloutError):
    """The ledger cannot be reached, so it is not known whether the claim still holds."""


class Claim(Protocol):
    """The right to work on one rollout."""

    @property
    def outcome(self) -> Outcome | None:
        """An outcome that an earlier claim wrote: it is to be reported again, not worked out again."""

    @property
    def attempt(self) -> int:
        """1 for the first claim on this rollout; a rollout that kills its workers shows a high number."""

    @property
    def epoch(self) -> int:
        """The number of the claim; it fences every write, and marks the log that is stored."""

    @property
    def begun(self) -> int:
        """Samples that earlier claims began; UNCOUNTED if they did not count them."""

    @property
    def handed_back(self) -> int | None:
        """The epoch whose log is to be gone on from, 0 if there was nothing to log; None: not handed back."""

    @property
    def crashed(self) -> bool:
        """An earlier claim sampled, and neither wrote an outcome nor handed the rollout back."""

    @property
    def log(self) -> RolloutLog:
        """What a ledger itself remembers of an earlier claim; empty if it keeps no logs."""

    async def sampling(self, begun: int) -> None:
        """Called before a Sample: the service may hold so many turns now. Nothing is handed back any more."""

    def check(self, seconds: float) -> None:
        """Make sure that the lease outlives a request of `seconds`.

        Raises:
            LeaseInDoubt: it does not; it may if `renew` succeeds.
            LeaseLost: another claim has the rollout, or this one was given up.
        """

    async def renew(self) -> None:
        """Prolong the lease, also one that ran out if nobody has claimed since. Raises LeaseLost."""

    async def record(self, outcome: Outcome) -> None: ...

    async def acknowledge(self) -> None:
        """The service has taken the outcome, or no longer wants it."""

    async def release(self, *, counted: bool = True) -> None:
        """Give the claim back; a recorded outcome stays. Does nothing for a claim that is lost.

        Not `counted`, it is no attempt: the rollout could not be begun with.
        """

    async def hand_back(self, begun: int, *, logged: bool) -> None:
        """Give the claim back to be gone on with: after `begun` Samples, from the log stored under it.

        No attempt is counted: a worker that is told to stop says nothing of the rollout. Raises LeaseLost.
        """


class Ledger(Protocol):
    async def claim(self, key: str) -> Claim | Outcome | None:
        """Claim a rollout; its outcome if that is acknowledged already; None while another claim holds it."""


@dataclass(slots=True)
class _Entry:
    held: bool = False
    attempt: int = 0
    outcome: Outcome | None = None
    acknowledged: bool = False
    log: RolloutLog = field(default_factory=RolloutLog)


class MemoryClaim:
    """A lease that ends with its process, so it never runs out before."""

    def __init__(self, ledger: "MemoryLedger", key: str, entry: _Entry) -> None:
        self._ledger = ledger
        self._key = key
        self._entry = entry
        self._released = False

    @property
    def outcome(self) -> Outcome | None:
        return self._entry.outcome

    @property
    def attempt(self) -> int:
        return self._entry.attempt

    @property
    def epoch(self) -> int:
        return self._entry.attempt

    @property
    def begun(self) -> int:
        return self._entry.log.begun

    @property
    def handed_back(self) -> int | None:
        return None

    @property
    def crashed(self) -> bool:
        return False  # the log is as long-lived as the claim

    @property
    def log(self) -> RolloutLog:
        return self._entry.log

    async def sampling(self, begun: int) -> None:
        self.check(0)

    def check(self, seconds: float) -> None:
        if not self._entry.held:
            raise LeaseLost(self._key)

    async def renew(self) -> None:
        self.check(0)

    async def record(self, outcome: Outcome) -> None:
        self.check(0)
        self._entry.outcome = outcome
        self._entry.log = RolloutLog()  # with an outcome nothing is resumed: the conversation may go

    async def acknowledge(self) -> None:
        self._entry.acknowledged = True

    async def release(self, *, counted: bool = True) -> None:
        if not self._released:
            self._released = True
            self._entry.attempt -= not counted
            self._entry.held = False
            self._ledger.settle(self._key)

    async def hand_back(self, begun: int, *, logged: bool) -> None:
        await self.release()


class MemoryLedger:
    """The ledger of one process."""

    def __init__(self) -> None:
        self._held: dict[str, _Entry] = {}
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._settled: OrderedDict[str, Outcome] = OrderedDict()

    async def claim(self, key: str) -> MemoryClaim | Outcome | None:
        if key in self._settled:
            return self._settled[key]
        if key in self._held:
            held = self._held[key]
            return held.outcome if held.acknowledged else None
        entry = self._held[key] = self._entries.pop(key, _Entry())
        entry.held = True
        entry.attempt += 1
        return MemoryClaim(self, key, entry)

    def settle(self, key: str) -> None:
        """Put by what a claim leaves that is given back: for duplicates, or to be gone on with."""
        entry = self._held.pop(key)
        if entry.outcome is not None and entry.acknowledged:
            _remember(self._settled, key, entry.outcome)
        elif entry.outcome is not None or entry.log.samples:
            _remember(self._entries, key, entry)  # the next claim reports it, or goes on from the log


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)

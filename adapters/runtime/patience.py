"""A claim that outlasts an outage of its ledger (docs/adr/010).

Every write is fenced by owner and epoch, so it is right whenever it gets through, and once another worker
has the rollout it is refused. So a live worker keeps trying: with full jitter, until the report's deadline.
What it never does meanwhile is to send: a lease that ran out is renewed, under the same epoch, before that.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.contract import Outcome
from adapters.runtime.ledger import Claim, LeaseInDoubt, LeaseLost, LedgerUnavailable
from adapters.runtime.telemetry import Telemetry

T = TypeVar("T")
BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS = 0.2, 5.0
REPORT_GRACE_SECONDS = 60.0
"""Past the budget, how long a report is still tried: a late answer costs less than a lost one."""


class PatientClaim:
    """Implements `Claim` around another one; `deadline` is the episode's, `margin` what follows it."""

    def __init__(
        self, claim: Claim, rollout_id: str, deadline: float, margin: float, telemetry: Telemetry
    ) -> None:
        self._claim = claim
        self._rollout_id = rollout_id
        self._deadline = deadline
        self._margin = margin
        self._telemetry = telemetry
        self._jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self.outcome = claim.outcome
        """As it was claimed: an outcome of an earlier claim."""
        self.attempt = claim.attempt
        self.epoch = claim.epoch
        self.begun = claim.begun
        self.handed_back = claim.handed_back
        self.crashed = claim.crashed
        self.log = claim.log

    def report_until(self) -> float:
        """The end of patience, on the monotonic clock."""
        return max(self._deadline, time.monotonic()) + self._margin + REPORT_GRACE_SECONDS

    def check(self, seconds: float) -> None:
        self._claim.check(seconds)

    async def hold(self, seconds: float) -> None:
        """Wait until the lease outlives a request of `seconds`.

        Raises:
            LeaseLost: another claim has the rollout.
            LedgerUnavailable: that could not be found out in time.
        """
        until = self.report_until()
        while True:
            try:
                return self._claim.check(seconds)
            except LeaseInDoubt:
                await self._persist(self._claim.renew, until)

    async def renew(self) -> None:
        await self._persist(self._claim.renew)

    async def sampling(self, begun: int) -> None:
        await self._persist(lambda: self._claim.sampling(begun))

    async def record(self, outcome: Outcome) -> None:
        await self._persist(lambda: self._claim.record(outcome))

    async def acknowledge(self) -> None:
        await self._persist(self._claim.acknowledge)

    async def hand_back(self, begun: int, *, logged: bool) -> None:
        await self._persist(lambda: self._claim.hand_back(begun, logged=logged))

    async def release(self, *, counted: bool = True) -> None:
        await self._claim.release(counted=counted)  # tried once: a lease that is not given back runs out

    async def _persist(self, call: Callable[[], Awaitable[T]], until: float | None = None) -> T:
        """Do it, however often it takes. Raises LeaseLost, and LedgerUnavailable when time is up."""
        until = self.report_until() if until is None else until
        attempt, since = 0, time.monotonic()
        while True:
            try:
                result = await call()
            except LeaseLost:
                raise
            except Exception as error:  # whatever the ledger raises, only its answer says who holds the lease
                left = until - time.monotonic()
                said = f"{type(error).__name__}: {error}"[:300]
                if left <= 0:
                    raise LedgerUnavailable(said) from error
                if not attempt:
                    self._tell("WARNING", "ledger_unreachable", error=said)
            else:
                if attempt:
                    self._tell("INFO", "ledger_back", seconds=round(time.monotonic() - since, 1))
                return result
            ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt, 10), left)
            await asyncio.sleep(self._jitter.uniform(0, ceiling))
            attempt += 1

    def _tell(self, level: str, event: str, **fields: object) -> None:
        self._telemetry.log(level, event, rollout_id=self._rollout_id, **fields)

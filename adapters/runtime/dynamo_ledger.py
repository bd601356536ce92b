"""The ledger that workers share: one DynamoDB table, one item a rollout, one lease at a time.

Two clocks. What is in the table is wall-clock time, and who takes over waits for the skew between machines
and for the last request to run out. What a worker trusts itself with is its own steady clock, counted from
before the renewal was sent: whatever happened to that renewal on its way, the table knows of no earlier end.
When that clock runs out nothing may be sent, but nothing is lost yet: a renewal under the same epoch says
whether somebody has taken over (docs/adr/010).
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from adapters.contract import Outcome
from adapters.runtime.aws import aws_client
from adapters.runtime.lease import CHECK_MARGIN_SECONDS, ConditionFailed, Hold, LeaseTable, Terms
from adapters.runtime.ledger import LeaseInDoubt, LeaseLost
from adapters.runtime.rollout_log import RolloutLog

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]
THREADS = 16
"""Calls to DynamoDB at a time; a call takes some milliseconds."""
UNHEARD = 10_000
"""Claims whose answer was lost that are remembered."""
CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0
RETRY_PER_LEASE = 30.0
"""A renewal that failed is tried again after this fraction of the lease: often, but no storm."""


def steady() -> float:
    """A clock that nobody sets. It goes on while the machine sleeps, where time.monotonic stops on Linux."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def dynamo_client(region: str, endpoint: str | None = None) -> Any:
    """A DynamoDB client that gives up early: a renewal must not outlast its lease."""
    return aws_client(
        "dynamodb",
        region,
        connect=CONNECT_SECONDS,
        read=READ_SECONDS,
        attempts=3,
        connections=THREADS,
        endpoint=endpoint,
    )


class DynamoLedger:
    """Implements `Ledger`. `lease` is by default long enough for requests of `request_timeout`."""

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        owner: str,
        request_timeout: float,
        lease: float | None = None,
        skew: float = 5.0,
        retention: float = 14 * 86400.0,
        monotonic: Callable[[], float] = steady,
        wall_clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Raises ValueError for a lease in which no request could ever be started."""
        length = 2 * request_timeout + 30 if lease is None else lease
        self.terms = Terms(length, request_timeout, skew, retention)
        self.takeover_seconds = self.terms.takeover
        """After this long, a dead worker's rollout can be claimed."""
        self.table = LeaseTable(client, table)
        self.monotonic = monotonic
        self.wall_clock = wall_clock
        self.sleep = sleep
        self._owner = owner
        self._unheard: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")

    async def claim(self, key: str) -> "DynamoClaim | Outcome | None":
        # One id for this claim: two by one process are two, and an answer that was lost is recognized,
        # also by the next try. Such a claim may be as old as the first one, so its lease is in doubt.
        token, unheard = self._unheard.pop(key, ""), True
        if not token:
            token, unheard = uuid.uuid4().hex, False

        def take() -> tuple[float, Hold | Outcome | None]:
            safe_until = self.monotonic() + (0 if unheard else self.terms.lease)
            return safe_until, self.table.take(key, self._owner, token, self.wall_clock(), self.terms)

        try:
            safe_until, taken = await self.off_loop(take)
        except Exception:
            if len(self._unheard) >= UNHEARD:
                self._unheard.clear()  # what is forgotten here is free again when its lease has run out
            self._unheard[key] = token
            raise
        return DynamoClaim(self, taken, safe_until) if isinstance(taken, Hold) else taken

    async def off_loop(self, call: Callable[[], T]) -> T:
        """Run a blocking call in a thread. Cancelled, it may still take effect: each write allows for it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Start no further call. Release the claims first."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class DynamoClaim:
    """Implements `Claim`; renews itself until it is released or lost."""

    def __init__(self, ledger: DynamoLedger, hold: Hold, safe_until: float) -> None:
        self._ledger = ledger
        self._hold = hold
        self._safe_until = safe_until
        self._outcome = hold.outcome
        self._log = RolloutLog()
        self._renewals = 0
        self._renewing = asyncio.Lock()
        self._lost = False
        self._begun: int | None = None
        self._acknowledged = False
        self._heartbeat = asyncio.create_task(self._beat(), name=f"lease {hold.key}")

    @property
    def outcome(self) -> Outcome | None:
        return self._outcome

    @property
    def attempt(self) -> int:
        return self._hold.attempt

    @property
    def epoch(self) -> int:
        return self._hold.epoch

    @property
    def begun(self) -> int:
        return self._hold.sampled

    @property
    def handed_back(self) -> int | None:
        return self._hold.handed_back

    @property
    def crashed(self) -> bool:
        return self._hold.sampled > 0 and self._hold.outcome is None and self._hold.handed_back is None

    @property
    def log(self) -> RolloutLog:
        return self._log  # not kept in the table: it holds the conversation

    def check(self, seconds: float) -> None:
        if self._lost:
            raise LeaseLost(self._hold.key)
        if self._left() <= seconds + CHECK_MARGIN_SECONDS:
            raise LeaseInDoubt(self._hold.key)

    async def sampling(self, begun: int) -> None:
        if begun != self._begun or self._lost:
            await self._write(lambda hold: self._ledger.table.sampling(hold, begun))
            self._begun = begun

    async def record(self, outcome: Outcome) -> None:
        await self._write(lambda hold: self._ledger.table.record(hold, outcome))
        self._outcome = outcome

    async def acknowledge(self) -> None:
        await self._write(self._ledger.table.acknowledge)
        self._acknowledged = True

    async def release(self, *, counted: bool = True) -> None:
        """Stop renewing, then let another worker claim at once."""
        self._heartbeat.cancel()
        free = self._lost or self._acknowledged  # passed on, or never to be claimed again
        self._lost = True
        await asyncio.wait({self._heartbeat})
        if not free:
            # A refusal: it was lost. An error: it runs out by itself. The rollout ends as it would have.
            with contextlib.suppress(ConditionFailed, BotoCoreError, ClientError):
                await self._ledger.off_loop(lambda: self._ledger.table.release(self._hold, counted=counted))

    async def hand_back(self, begun: int, *, logged: bool) -> None:
        """Goes on renewing until it succeeds: a lease that ran out before would look like a crash."""
        epoch = self.epoch if logged else 0
        await self._write(lambda hold: self._ledger.table.hand_back(hold, begun, epoch))
        self._lost = True

    async def renew(self) -> None:
        """Renew the lease once, also one that has run out.

        Raises:
            LeaseLost: the item has passed to another claim.
        """
        async with self._renewing:  # of two at once, the one that is overtaken would look like a loss
            await self._renew()

    async def _renew(self) -> None:
        ledger = self._ledger
        self._renewals += 1
        number = self._renewals

        def call(hold: Hold) -> float:
            # Before the request is sent, and before the wall clock is read: a pause here shortens the lease.
            safe_until = ledger.monotonic() + ledger.terms.lease
            ledger.table.renew(hold, number, ledger.wall_clock() + ledger.terms.lease)
            return safe_until

        self._safe_until = await self._write(call)

    async def _write(self, write: Callable[[Hold], T]) -> T:
        if self._lost:
            raise LeaseLost(self._hold.key)
        try:
            return await self._ledger.off_loop(lambda: write(self._hold))
        except ConditionFailed:
            self._lost = True
            raise LeaseLost(self._hold.key) from None

    async def _beat(self) -> None:
        """Renew every third of the lease, more often after an error, until another claim has the rollout."""
        lease = self._ledger.terms.lease
        pause = lease / 3
        while True:
            await self._ledger.sleep(pause)
            try:
                await self.renew()
                pause = lease / 3
            except LeaseLost:
                return
            except Exception:  # noqa: BLE001 - whatever kept the renewal from the table, the clock decides
                pause = lease / RETRY_PER_LEASE

    def _left(self) -> float:
        return self._safe_until - self._ledger.monotonic()

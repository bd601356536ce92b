"""The end of a rollout: its outcome is written down, then sealed and rewarded, then acknowledged and logged.

Nothing is reported that is not in the ledger; what is there is reported until the service has taken it.
"""

import time
from dataclasses import dataclass, field

from adapters.contract import (
    Outcome,
    PolicyUnavailable,
    Reward,
    RewardTerms,
    RolloutRequest,
    Score,
    Transcript,
)
from adapters.runtime.archive import Archive
from adapters.runtime.job_runtime import JobRuntime
from adapters.runtime.log_store import LogKeeper
from adapters.runtime.patience import PatientClaim
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import RolloutLine, Telemetry


class NotAcknowledged(Exception):
    """The outcome stands in the ledger, but the service has not taken it. Redelivery reports it again."""


@dataclass(slots=True, eq=False)
class Run:
    """The mutable state of one claim's rollout in progress."""

    request: RolloutRequest
    claim: PatientClaim
    keeper: LogKeeper
    deadline: float
    transcript: Transcript = field(default_factory=Transcript)
    reward: Reward | None = None
    score: Score | None = None
    imputed: bool = False


class Reporter:
    """Settles the rollouts of a process."""

    def __init__(
        self,
        settings: Settings,
        runtime: JobRuntime,
        telemetry: Telemetry,
        archive: Archive | None,
        terms: RewardTerms,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._telemetry = telemetry
        self._archive = archive
        self._terms = terms

    async def settle(self, run: Run, outcome: Outcome, started: float | None = None) -> Outcome:
        """Write the outcome down, report it, and log it whatever became of the report.

        Raises:
            LeaseLost, LedgerUnavailable: it is not written down; nothing was reported.
            NotAcknowledged: the service has not taken it.
        """
        await run.claim.record(outcome)
        try:
            await self.report(run, outcome, again=False)
        finally:
            seconds = 0.0 if started is None else time.monotonic() - started
            await self.log(run, outcome, seconds)
        return outcome

    async def report(self, run: Run, outcome: Outcome, *, again: bool) -> None:
        """Seal, then reward. Both are repeated until acknowledged or the trajectory is gone."""
        deadline = run.claim.report_until()

        async def holds() -> None:
            await run.claim.hold(self._runtime.request_timeout)

        try:
            sealed = await self._runtime.complete(
                run.request, outcome.sealed, again=again, deadline=deadline, before_each=holds
            )
            if sealed.done and outcome.sealed == "ready":
                sealed = await self._runtime.update_reward(
                    run.request, outcome.rewards, again=again, deadline=deadline, before_each=holds
                )
        except PolicyUnavailable as error:
            self._warn(run, "not_acknowledged", f"{type(error).__name__}: {error}")
            raise NotAcknowledged(str(error)) from error
        if not sealed.done:
            self._warn(run, "report_refused", sealed.detail)
        await run.claim.acknowledge()

    async def log(self, run: Run, outcome: Outcome, seconds: float) -> None:
        """The rollout's line and, if it is to be kept, its transcript."""
        line = RolloutLine(run.request, run.transcript, outcome, run.reward, run.score, seconds, self._terms)
        try:
            self._telemetry.rollout(line)
            if self._archive is not None:
                await self._archive.keep(line)
        except Exception as error:  # noqa: BLE001 - a full disk must not turn a finished rollout into an error
            self._warn(run, "not_logged", f"{type(error).__name__}: {error}")

    def _warn(self, run: Run, event: str, error: str) -> None:
        request = run.request
        self._telemetry.log(
            "WARNING", event, rollout_id=request.rollout_id, job_name=request.job_name, error=error[:500]
        )

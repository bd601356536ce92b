"""The life of a rollout: claimed, sampled, graded, sealed, rewarded.

Laws, each with a test that breaks when it is broken:
- nothing is signed before the request has passed the gate;
- at least one Sample: the trajectory is sealed `ready` with a number, whatever happened afterwards;
- no Sample: sealed `failed`, after the first Sample was retried until the deadline;
- the outcome is in the ledger before it is reported; reports are repeated until acknowledged.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.contract import (
    AgentLoop,
    Budget,
    Environment,
    Episode,
    EpisodeOver,
    Outcome,
    PolicyUnavailable,
    RequestError,
    Reward,
    RolloutRequest,
    SampleRejected,
    Score,
    StopReason,
    Task,
    TrajectoryGone,
    Transcript,
)
from adapters.runtime import gate
from adapters.runtime.grading import final_rewards, penalized
from adapters.runtime.job_runtime import JobRuntime
from adapters.runtime.ledger import Claim, Ledger
from adapters.runtime.recording import RecordedEpisode, RecordedPolicy
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import FileArchive, RolloutLine, Telemetry

REPORT_GRACE_SECONDS = 60.0
"""Past the budget, how long a report is still tried: a late answer costs less than a lost one."""


class NotAcknowledged(Exception):
    """The outcome stands in the ledger, but the service has not taken it. Redelivery reports it again."""


class Busy(Exception):
    """Another live claim holds this rollout."""


@dataclass(slots=True)
class _Run:
    """The mutable state of one rollout in progress."""

    request: RolloutRequest
    claim: Claim
    deadline: float
    transcript: Transcript = field(default_factory=Transcript)
    reward: Reward | None = None
    score: Score | None = None
    imputed: bool = False
    drain: asyncio.Event = field(default_factory=asyncio.Event)


class Rollouts:
    """Runs rollouts of one environment with one loop; one instance a process."""

    def __init__(
        self,
        settings: Settings,
        environment: Environment,
        loop: AgentLoop,
        runtime: JobRuntime,
        ledger: Ledger,
        telemetry: Telemetry,
        archive: FileArchive | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._loop = loop
        self._runtime = runtime
        self._ledger = ledger
        self._telemetry = telemetry
        self._archive = archive
        self._wall_clock = wall_clock
        self._running: dict[str, _Run] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    def read_task(self, request: RolloutRequest) -> Task:
        """Check a request without touching the service.

        Raises:
            RequestError, RefusedError: names the field.
        """
        gate.check(request, self._settings)
        task = Task.from_prompt(request.prompt)
        if task.environment not in ("", self._environment.name):
            raise RequestError(
                "prompt.environment",
                f"is {task.environment[:100]!r}; this adapter serves {self._environment.name!r}",
            )
        return task

    def drain(self) -> list[str]:
        """Tell every running rollout to finish with what it has. Returns their ids."""
        for run in self._running.values():
            run.drain.set()
        return [run.request.rollout_id for run in self._running.values()]

    async def run(self, request: RolloutRequest) -> Outcome:
        """Take one rollout from claim to acknowledged reward.

        Raises:
            RequestError: the prompt is no task of this environment; nothing was sampled or sealed.
            Busy: another claim is at work on it.
            NotAcknowledged: the outcome could not be reported in time.
        """
        task = self.read_task(request)
        key = f"{request.job_arn}/{request.rollout_id}"
        finished = await self._ledger.finished(key)
        if finished is not None:
            return finished
        claim = await self._ledger.claim(key)
        if claim is None:
            raise Busy(request.rollout_id)
        run = _Run(request, claim, self._deadline(request))
        self._running[key] = run
        try:
            return await self._finish(run, task)
        finally:
            del self._running[key]
            await claim.release()

    def _deadline(self, request: RolloutRequest) -> float:
        """The end of the episode on the monotonic clock; what a sender's clock says is bounded by ours."""
        now = self._wall_clock()
        received = min(request.received_at or now, now)
        return time.monotonic() + (received - now) + self._settings.budget - self._settings.margin

    async def _finish(self, run: _Run, task: Task) -> Outcome:
        started = time.monotonic()
        outcome, again = run.claim.outcome, True
        if outcome is None:
            again = False
            reason = await self._play(run, task)
            outcome = self._outcome(run, reason)
            await run.claim.record(outcome)
        await self._report(run, outcome, again)
        line = RolloutLine(
            run.request, run.transcript, outcome, run.reward, run.score, time.monotonic() - started
        )
        self._telemetry.rollout(line)
        if self._archive is not None:
            await self._archive.keep(line)
        return outcome

    async def _play(self, run: _Run, task: Task) -> StopReason:
        """Play the episode and grade it while it is still open."""
        if time.monotonic() >= run.deadline:
            return StopReason.EXPIRED
        try:
            async with self._environment.open(task) as episode:
                reason = await self._sample(run, episode)
                run.transcript.stop_reason = reason
                self._grade(run, episode)
                return reason
        except RequestError:
            raise  # the task's fault, found before the first Sample: the caller is told the field
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the rollout must still end
            self._warn(run, "environment_error", error)
            if run.transcript.turns and run.reward is None:
                self._impute(run)
            return run.transcript.stop_reason or StopReason.ENVIRONMENT_ERROR

    async def _sample(self, run: _Run, episode: Episode) -> StopReason:
        settings = self._settings
        budget = Budget(
            max_turns=self._environment.max_turns,
            max_tool_calls=settings.max_tool_calls,
            deadline=run.deadline,
            tool_timeout=settings.tool_timeout,
            tool_result_chars=settings.tool_result_chars,
        )
        policy = RecordedPolicy(self._runtime, run.request, run.claim, budget, run.transcript)
        view = RecordedEpisode(episode, budget, run.transcript)
        playing = asyncio.ensure_future(self._loop.run(view, policy, budget))
        draining = asyncio.ensure_future(run.drain.wait())
        try:
            await asyncio.wait(
                {playing, draining},
                timeout=max(0.0, run.deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if playing.done():
                return self._reason(run, playing)
            return StopReason.DRAINED if draining.done() else StopReason.WALL_CLOCK
        finally:
            draining.cancel()
            playing.cancel()
            await asyncio.wait({playing, draining}, timeout=5.0)

    def _reason(self, run: _Run, playing: "asyncio.Future[StopReason]") -> StopReason:
        try:
            return playing.result()
        except EpisodeOver as over:
            return over.reason
        except TrajectoryGone as error:
            self._warn(run, "trajectory_gone", error)
            return StopReason.TRAJECTORY_GONE
        except (PolicyUnavailable, SampleRejected) as error:
            self._warn(run, "policy_unavailable", error)
            return StopReason.POLICY_UNAVAILABLE
        except Exception as error:  # noqa: BLE001 - a team's own loop may raise anything
            self._warn(run, "environment_error", error)
            return StopReason.ENVIRONMENT_ERROR

    def _grade(self, run: _Run, episode: Episode) -> None:
        if not run.transcript.turns:
            return
        try:
            reward = episode.reward(run.transcript)
            run.reward = penalized(
                reward, run.transcript.text_tool_calls, self._settings.text_tool_call_penalty
            )
        except Exception as error:  # noqa: BLE001 - a reward that raises must not cost the job
            self._warn(run, "grading_failed", error)
            self._impute(run)
        try:
            run.score = episode.score(run.transcript)
        except Exception as error:  # noqa: BLE001 - the score is ours alone: its failure changes no report
            self._warn(run, "scoring_failed", error)

    def _impute(self, run: _Run) -> None:
        run.imputed = True
        run.reward = Reward(self._settings.fault_reward)

    def _outcome(self, run: _Run, reason: StopReason) -> Outcome:
        if run.reward is None:
            return Outcome(reason, "failed", ())
        per_turn = self._settings.rewards == "turn"
        return Outcome(
            stop_reason=reason,
            sealed="ready",
            rewards=final_rewards(run.reward, run.transcript, per_turn=per_turn),
            imputed=run.imputed,
            score=run.score.value if run.score else None,
            turns=len(run.transcript.turns),
        )

    async def _report(self, run: _Run, outcome: Outcome, again: bool) -> None:
        """Seal, then reward. Both are repeated until acknowledged or the trajectory is gone."""
        deadline = max(run.deadline, time.monotonic()) + self._settings.margin + REPORT_GRACE_SECONDS
        try:
            run.claim.check(self._runtime.request_timeout)
            sealed = await self._runtime.complete(run.request, outcome.sealed, again=again, deadline=deadline)
            if sealed.done and outcome.sealed == "ready":
                run.claim.check(self._runtime.request_timeout)
                sealed = await self._runtime.update_reward(
                    run.request, outcome.rewards, again=again, deadline=deadline
                )
        except PolicyUnavailable as error:
            self._warn(run, "not_acknowledged", error)
            raise NotAcknowledged(str(error)) from error
        if not sealed.done:
            self._telemetry.log(
                "WARNING", "report_refused", rollout_id=run.request.rollout_id, detail=sealed.detail
            )
        await run.claim.acknowledge()

    def _warn(self, run: _Run, event: str, error: BaseException) -> None:
        self._telemetry.log(
            "WARNING",
            event,
            rollout_id=run.request.rollout_id,
            job_name=run.request.job_name,
            error=f"{type(error).__name__}: {error}"[:500],
        )

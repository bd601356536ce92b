"""The life of a rollout: claimed, sampled, graded, sealed, rewarded.

Laws, each with a test that breaks when it is broken:
- nothing is signed before the request has passed the gate;
- at least one Sample: the trajectory is sealed `ready` with a number, whatever happened afterwards;
- no Sample: sealed `failed`, after the first Sample was retried until the deadline;
- the outcome is in the ledger before it is reported; reports are repeated until acknowledged;
- a rollout is handed to another worker only after its log is stored, and then neither graded nor sealed.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

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
    StopReason,
    Task,
    TrajectoryGone,
    reward_terms,
)
from adapters.runtime import gate
from adapters.runtime.archive import Archive
from adapters.runtime.cutting import Cutting
from adapters.runtime.grading import checked, final_rewards, penalized
from adapters.runtime.job_runtime import JobRuntime
from adapters.runtime.ledger import LeaseLost, Ledger, LedgerUnavailable
from adapters.runtime.log_store import CannotResume, LogKeeper, LogKeeping, LogOutOfReach, LogStore
from adapters.runtime.patience import PatientClaim
from adapters.runtime.recording import RecordedEpisode, RecordedPolicy
from adapters.runtime.reporting import Reporter, Run
from adapters.runtime.settings import Settings
from adapters.runtime.stage import Stage, contained
from adapters.runtime.telemetry import Telemetry


class Busy(Exception):
    """Another live claim holds this rollout."""


class HandedBack(Exception):
    """The rollout is left to another worker, which goes on where this one stopped. Nothing was sealed."""


def key_of(request: RolloutRequest) -> str:
    """What the ledger calls a rollout."""
    return f"{request.job_arn}/{request.rollout_id}"


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
        archive: Archive | None = None,
        logs: LogStore | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._loop = loop
        self._runtime = runtime
        self._ledger = ledger
        self._telemetry = telemetry
        self._reporter = Reporter(settings, runtime, telemetry, archive, reward_terms(environment))
        self._wall_clock = wall_clock
        self._running: set[Run] = set()
        self._kept: set[str] = set()
        self._cutting = Cutting()
        self._keeping = LogKeeping(
            store=logs,
            replays=environment.replay == "reexecute",
            resumes_crashes=settings.on_crash == "resume",
            uncertain_retries=settings.uncertain_retries,
            telemetry=telemetry,
        )

    @property
    def running(self) -> list[str]:
        """The ids of the rollouts in hand."""
        return sorted(run.request.rollout_id for run in self._running)

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

    def hand_over(self) -> None:
        """Tell every rollout, now and later, to stop after its Sample in flight, if it can be resumed."""
        self._cutting.handing_over.set()

    def keep(self, request: RolloutRequest) -> None:
        """Never hand this running rollout over: nobody will ask for it again."""
        self._kept.add(key_of(request))

    def drain(self) -> list[str]:
        """Tell every rollout, now and later, to finish with what it has. Returns the running ones' ids."""
        self._cutting.draining.set()
        return self.running

    async def run(self, request: RolloutRequest) -> Outcome:
        """Take one rollout from claim to acknowledged reward.

        Raises:
            RequestError: the prompt is no task of this environment; nothing was sampled or sealed.
            Busy: another claim is at work on it.
            NotAcknowledged: the outcome could not be reported in time.
            LeaseLost, LedgerUnavailable: another claim may have it, or has; nothing was reported.
            LogOutOfReach: it cannot be gone on with yet; nothing was reported.
            HandedBack: after `hand_over`.
        """
        task = self.read_task(request)
        return await self._claimed(request, lambda run: self._finish(run, task))

    async def reject(self, request: RolloutRequest, reason: StopReason) -> Outcome:
        """Seal a rollout `failed` without playing it, unless it has an outcome. Raises as `run`."""
        gate.check(request, self._settings)
        outcome = Outcome(reason, "failed", ())

        async def seal(run: Run) -> Outcome:
            return await self._report_stored(run) or await self._reporter.settle(run, outcome)

        return await self._claimed(request, seal)

    async def _claimed(self, request: RolloutRequest, work: Callable[[Run], Awaitable[Outcome]]) -> Outcome:
        key = key_of(request)
        taken = await self._ledger.claim(key)
        if taken is None:
            raise Busy(request.rollout_id)
        if isinstance(taken, Outcome):
            return taken
        deadline = self._deadline(request)
        claim = PatientClaim(taken, request.rollout_id, deadline, self._settings.margin, self._telemetry)
        keeper = LogKeeper(self._keeping, request, claim)
        run = Run(request, claim, keeper, deadline)
        self._running.add(run)
        counted = True
        try:
            return await work(run)
        except HandedBack:
            await claim.hand_back(keeper.log.begun, logged=keeper.logged)
            raise
        except LogOutOfReach:
            counted = False  # says nothing of the rollout, which would be poison after some such attempts
            raise
        finally:
            self._running.remove(run)
            if all(
                key_of(other.request) != key for other in self._running
            ):  # after an outage there may be two
                self._kept.discard(key)
            await claim.release(counted=counted)

    def _deadline(self, request: RolloutRequest) -> float:
        """The end of the episode on the monotonic clock; what a sender's clock says is bounded by ours."""
        now = self._wall_clock()
        received = now if request.received_at is None else min(request.received_at, now)
        return time.monotonic() + (received - now) + self._settings.budget - self._settings.margin

    async def _finish(self, run: Run, task: Task) -> Outcome:
        stored = await self._report_stored(run)
        if stored is not None:
            return stored
        if run.claim.attempt > self._settings.max_attempts:
            return await self._reporter.settle(run, Outcome(StopReason.POISONED, "failed", ()))
        if run.claim.crashed and self._settings.on_crash == "leave":
            outcome = Outcome(StopReason.CRASHED, "failed", ())
            await run.claim.record(outcome)
            await run.claim.acknowledge()  # the service's own timeout ends it
            await self._reporter.log(run, outcome, 0.0)
            return outcome
        started = time.monotonic()
        reason = await self._play(run, task)
        return await self._reporter.settle(run, self._outcome(run, reason), started)

    async def _report_stored(self, run: Run) -> Outcome | None:
        """Report what an earlier claim wrote down, if it did: it stands, whatever has come to light since."""
        stored = run.claim.outcome
        if stored is not None:
            await self._reporter.report(run, stored, again=True)
            self._telemetry.log("INFO", "reported_again", rollout_id=run.request.rollout_id)
        return stored

    async def _play(self, run: Run, task: Task) -> StopReason:
        """Play the episode and grade it while it is still open."""
        try:
            await run.keeper.recover()
        except LogOutOfReach as error:
            if time.monotonic() < run.deadline:
                raise
            self._warn(run, "not_resumed", error)
            return StopReason.CRASHED
        except CannotResume as error:
            self._warn(run, "not_resumed", error)
            return StopReason.CRASHED
        log = run.keeper.log
        run.transcript.uncertain_samples = log.doubt
        if log.samples and self._environment.replay == "none":
            self._impute(run)
            return StopReason.CRASHED  # an earlier claim sampled, and its tools may not be called again
        if time.monotonic() >= run.deadline:
            if not log.samples:
                return StopReason.EXPIRED
            self._impute(run)
            return StopReason.WALL_CLOCK
        log.rewind()
        stage = Stage(self._environment, task)
        try:
            await self._perform(run, stage)
        except RequestError as error:
            if not log.samples:
                raise  # the task's fault, found before the first Sample: the caller is told the field
            self._blame(run, "environment_error", error)
        except (LeaseLost, LedgerUnavailable, HandedBack):
            raise  # another worker may have it: nothing is written down, let alone reported
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the rollout must still end
            self._blame(run, "environment_error", error)
        finally:
            problem = await stage.close()
            if problem is not None:
                self._blame(run, "environment_error", problem)
        if log.samples and run.reward is None:  # also those of an earlier claim, before they are replayed
            self._impute(run)
        return run.transcript.stop_reason or StopReason.ENVIRONMENT_ERROR

    async def _perform(self, run: Run, stage: Stage) -> None:
        episode = await self._cutting.before_the_end(
            stage.opened, run.deadline, lambda: self._leaving(run, None)
        )
        reason = episode if isinstance(episode, StopReason) else await self._sample(run, episode)
        run.transcript.stop_reason = reason
        cut = reason is StopReason.DRAINED and self._cutting.handing_over.is_set()
        leaves = cut and not self._must_end_here(run)
        if leaves and await run.keeper.leave(self._cutting.draining, run.deadline):
            raise HandedBack(run.request.rollout_id)
        if not isinstance(episode, StopReason):
            self._grade(run, episode)

    async def _leaving(self, run: Run, policy: RecordedPolicy | None) -> None:
        """A hand-over was asked for: return when the rollout can be left, or never."""
        quiet = policy is None or policy.quiet.is_set()
        left = run.keeper.resumable or (quiet and not run.keeper.log.begun)
        if not left or self._must_end_here(run):
            await asyncio.Event().wait()  # it ends by itself, or by a drain
        if policy is not None:
            policy.close(StopReason.DRAINED)
            await policy.quiet.wait()

    def _must_end_here(self, run: Run) -> bool:
        return key_of(run.request) in self._kept

    async def _sample(self, run: Run, episode: Episode) -> StopReason:
        settings = self._settings
        budget = Budget(
            max_turns=self._environment.max_turns,
            max_tool_calls=settings.max_tool_calls,
            deadline=run.deadline,
            tool_timeout=settings.tool_timeout,
            tool_result_chars=settings.tool_result_chars,
        )
        policy = RecordedPolicy(self._runtime, run.request, run.keeper, budget, run.transcript)
        view = RecordedEpisode(episode, budget, run.transcript, run.keeper.log)
        playing = asyncio.create_task(contained(self._loop.run(view, policy, budget)))
        try:
            ended = await self._cutting.before_the_end(
                playing, run.deadline, lambda: self._leaving(run, policy)
            )
            reason = StopReason(ended)  # a loop that returns anything else is at fault
        except (LeaseLost, LedgerUnavailable):
            policy.close(StopReason.DUPLICATE)
            raise
        except Exception as error:  # noqa: BLE001 - a team's own loop may raise anything
            reason = self._reason(run, error)
        policy.close(reason)
        return reason

    def _reason(self, run: Run, error: Exception) -> StopReason:
        if isinstance(error, EpisodeOver):
            return error.reason
        if isinstance(error, TrajectoryGone):
            self._warn(run, "trajectory_gone", error)
            return StopReason.TRAJECTORY_GONE
        if isinstance(error, PolicyUnavailable | SampleRejected):
            self._warn(run, "policy_unavailable", error)
            late = time.monotonic() >= run.deadline  # a Sample that was cut by the deadline
            return StopReason.WALL_CLOCK if late else StopReason.POLICY_UNAVAILABLE
        self._blame(run, "environment_error", error)
        return StopReason.ENVIRONMENT_ERROR

    def _grade(self, run: Run, episode: Episode) -> None:
        if not run.transcript.turns:
            return
        try:
            reward = episode.reward(run.transcript)
            run.reward = penalized(
                reward, run.transcript.text_tool_calls, self._settings.text_tool_call_penalty
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a reward that raises must not cost the job
            self._blame(run, "grading_failed", error)
            self._impute(run)
        try:
            run.score = checked(episode.score(run.transcript))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the score is ours alone: no report changes
            self._blame(run, "scoring_failed", error)

    def _impute(self, run: Run) -> None:
        run.imputed = True
        run.reward = Reward(self._settings.fault_reward)

    def _outcome(self, run: Run, reason: StopReason) -> Outcome:
        if run.reward is None:
            return Outcome(reason, "failed", ())
        held = run.keeper.log.samples
        per_turn = self._settings.rewards == "turn" and len(run.transcript.turns) == held
        return Outcome(
            stop_reason=reason,
            sealed="ready",
            rewards=final_rewards(run.reward, run.transcript, per_turn=per_turn),
            imputed=run.imputed,
            score=run.score.value if run.score else None,
            turns=len(run.transcript.turns),
        )

    def _blame(self, run: Run, event: str, error: BaseException) -> None:
        """Say where a plug-in failed, not with what words: those may hold the prompt or the target."""
        origin = error.__cause__ or error
        frames = traceback.extract_tb(origin.__traceback__)
        self._telemetry.log(
            "WARNING",
            event,
            rollout_id=run.request.rollout_id,
            job_name=run.request.job_name,
            error=type(origin).__name__,
            where=f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "",
        )

    def _warn(self, run: Run, event: str, error: BaseException) -> None:
        self._telemetry.log(
            "WARNING",
            event,
            rollout_id=run.request.rollout_id,
            job_name=run.request.job_name,
            error=f"{type(error).__name__}: {error}"[:500],
        )

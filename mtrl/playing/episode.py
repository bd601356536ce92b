"""One episode: opened, played by a loop behind the recording seams, graded, closed.

Nothing that an environment does is an exception here: what it broke is listed in `Played.faults`.
"""

import io
import time
from dataclasses import dataclass, field

from adapters.contract import (
    AgentLoop,
    Budget,
    Environment,
    Episode,
    EpisodeOver,
    InferenceParams,
    Policy,
    PolicyUnavailable,
    RequestError,
    Reward,
    RolloutRequest,
    Score,
    StopReason,
    Task,
    Transcript,
)
from adapters.contract.variables import BY_NAME
from adapters.loops.tool_loop import ToolLoop
from adapters.runtime.grading import checked, penalized
from adapters.runtime.ledger import MemoryClaim, MemoryLedger
from adapters.runtime.log_store import LogKeeper, LogKeeping
from adapters.runtime.patience import PatientClaim
from adapters.runtime.recording import RecordedEpisode, RecordedPolicy
from adapters.runtime.stage import Stage, contained
from adapters.runtime.telemetry import Telemetry
from mtrl.playing.sampling import PolicySampler

TRAINING = InferenceParams(temperature=1.0, top_p=1.0, max_tokens=4096)
"""The service's default sampling parameters of a training job."""
JOB_ARN = "arn:aws:sagemaker:us-east-1:000000000000:job/AgentRFT/playing"


def _default(variable: str) -> float:
    return float(BY_NAME[variable].default or 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an episode may spend; the defaults are those of an adapter."""

    max_turns: int | None = None
    """None: the environment's own."""
    max_tool_calls: int = int(_default("MTRL_MAX_TOOL_CALLS"))
    seconds: float = _default("MTRL_ROLLOUT_BUDGET_SECONDS") - _default("MTRL_ROLLOUT_MARGIN_SECONDS")
    tool_timeout: float = _default("MTRL_TOOL_TIMEOUT_SECONDS")
    tool_result_chars: int = int(_default("MTRL_TOOL_RESULT_CHARS"))
    text_tool_call_penalty: float = _default("MTRL_TEXT_TOOL_CALL_PENALTY")


@dataclass(slots=True)
class Played:
    """What became of one episode."""

    task: Task
    transcript: Transcript = field(default_factory=Transcript)
    reward: Reward | None = None
    """As the environment gave it; None if it could not be graded."""
    reported: Reward | None = None
    """What the trainer would get: checked, and with the penalty for calls written as text; None if it is
    no reward that can be reported."""
    score: Score | None = None
    faults: list[str] = field(default_factory=list)
    """What the environment or the policy broke, in words."""
    seconds: float = 0.0

    @property
    def stop_reason(self) -> StopReason | None:
        return self.transcript.stop_reason


async def play(
    environment: Environment,
    task: Task,
    policy: Policy,
    *,
    loop: AgentLoop | None = None,
    limits: Limits | None = None,
    inference: InferenceParams | None = None,
) -> Played:
    """Play one episode of the task. `policy` is for this episode alone.

    Args:
        loop: the agent loop; None: the built-in one.
        inference: sampling parameters that are sent with every turn; None: `TRAINING`.

    Raises:
        RequestError: the task is not one of the environment.
    """
    played = Played(task)
    started = time.monotonic()
    limits, inference = limits or Limits(), inference or TRAINING
    stage = Stage(environment, task)
    try:
        episode = await stage.opened
        reason = await _sample(environment, episode, policy, loop or ToolLoop(), limits, inference, played)
        played.transcript.stop_reason = reason
        if played.transcript.turns:
            _grade(episode, played, limits.text_tool_call_penalty)
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
        played.transcript.stop_reason = StopReason.ENVIRONMENT_ERROR
        _blame(played, "opening the episode", error)
    finally:
        problem = await stage.close()
        if problem is not None and not isinstance(problem, RequestError):
            _blame(played, "closing the episode", problem)
        played.seconds = time.monotonic() - started
    return played


async def _sample(
    environment: Environment,
    episode: Episode,
    policy: Policy,
    loop: AgentLoop,
    limits: Limits,
    inference: InferenceParams,
    played: Played,
) -> StopReason:
    budget = Budget(
        max_turns=limits.max_turns or environment.max_turns,
        max_tool_calls=limits.max_tool_calls,
        deadline=time.monotonic() + limits.seconds,
        tool_timeout=limits.tool_timeout,
        tool_result_chars=limits.tool_result_chars,
    )
    request = RolloutRequest(played.task.to_prompt(), JOB_ARN, played.task.id or "task", inference=inference)
    claim = await MemoryLedger().claim(request.rollout_id)
    assert isinstance(claim, MemoryClaim)  # noqa: S101 - the ledger is new
    telemetry = Telemetry("mtrl-kit", environment.name, stream=io.StringIO())
    keeping = LogKeeping(None, False, False, 0, telemetry)
    held = PatientClaim(claim, request.rollout_id, budget.deadline, 0.0, telemetry)
    keeper = LogKeeper(keeping, request, held)
    recorded = RecordedPolicy(PolicySampler(policy), request, keeper, budget, played.transcript)
    view = RecordedEpisode(episode, budget, played.transcript, keeper.log)
    try:
        return StopReason(await contained(loop.run(view, recorded, budget)))
    except EpisodeOver as over:
        return over.reason
    except PolicyUnavailable as error:
        _blame(played, "the policy", error)
        return StopReason.POLICY_UNAVAILABLE
    except Exception as error:  # noqa: BLE001 - an environment or a loop may raise anything
        _blame(played, "the episode", error)
        return StopReason.ENVIRONMENT_ERROR


def _grade(episode: Episode, played: Played, penalty: float) -> None:
    try:
        played.reward = episode.reward(played.transcript)
        played.reported = penalized(played.reward, played.transcript.text_tool_calls, penalty)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        _blame(played, "reward", error)
    try:
        played.score = checked(episode.score(played.transcript))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        _blame(played, "score", error)


def _blame(played: Played, what: str, error: BaseException) -> None:
    origin = error.__cause__ or error
    played.faults.append(f"{what}: {type(origin).__name__}: {origin}"[:300])

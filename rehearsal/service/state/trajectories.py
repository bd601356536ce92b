"""Trajectories: what the Job Runtime knows of each rollout, and every breach of its life cycle.

A trajectory is open until it is sealed (`ready` or `failed`), by the adapter or by the service itself. An
accepted reward ends it. What is refused is counted here, so that a test can ask the other side of the wire.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rehearsal.policies.base import Sampled

State = Literal["open", "ready", "failed", "closed"]
MAX_PAST = 20_000
"""Finished trajectories whose state is remembered, so that a late call is answered as the service would."""


class TrajectoryError(Exception):
    """A call that the trajectory's state, or its absence, forbids. `code` is the service's error name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Trajectory:
    """One rollout as the service sees it."""

    id: str
    job_arn: str
    seed: int
    """Decides every draw of this rollout, whatever the order in which rollouts arrive."""
    policy: Any
    opened: float
    trained: bool = True
    """Whether it will be trained on; otherwise what only a trainer needs of a turn is not kept."""
    state: State = "open"
    turns: list[Sampled] = field(default_factory=list)
    last_messages: Sequence[Any] = ()
    rewards: tuple[float, ...] | None = None
    seal_token: str = ""
    reward_token: str = ""
    settled: Callable[[], None] | None = None
    """Called once, when nothing more is to be expected of the adapter."""


class Trajectories:
    """All trajectories of the running jobs, in memory, and the counts of all jobs."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Trajectory] = {}
        self._past: deque[Trajectory] = deque()
        self.counts: dict[str, Counter[str]] = {}
        """By job ARN: samples, seals, rewards, and each kind of breach; until the job is deleted."""

    def open(
        self, job_arn: str, rollout_id: str, seed: int, policy: Any, *, trained: bool = True
    ) -> Trajectory:
        trajectory = Trajectory(rollout_id, job_arn, seed, policy, time.monotonic(), trained)
        self._known[job_arn, rollout_id] = trajectory
        self._count(job_arn, "trajectories")
        return trajectory

    def get(self, job_arn: str, rollout_id: str) -> Trajectory:
        trajectory = self._known.get((job_arn, rollout_id))
        if trajectory is None:
            self._count(job_arn, "unknown_trajectory")
            raise TrajectoryError("ResourceNotFoundException", f"Trajectory {rollout_id} was not found.")
        return trajectory

    def close(self, trajectory: Trajectory) -> None:
        """The service is done with the rollout: whatever new comes now is refused."""
        trajectory.last_messages = ()  # a phase keeps its rollouts to its end, and these are most of one
        if trajectory.rewards is None and trajectory.state in ("open", "ready"):
            trajectory.state = "closed"

    def forget(self, trajectory: Trajectory) -> None:
        """Drop the turns of a trajectory that has been trained on, and close it.

        Its state stays for a while: a reward whose answer was lost is repeated after the step has ended,
        and must meet its own token, not a 404.
        """
        self.close(trajectory)
        trajectory.turns = []
        trajectory.policy, trajectory.settled = None, None
        self._past.append(trajectory)
        while len(self._past) > MAX_PAST:
            old = self._past.popleft()
            if self._known.get((old.job_arn, old.id)) is old:
                del self._known[old.job_arn, old.id]

    def end_job(self, job_arn: str) -> None:
        """Close whatever a job has left open: no agent may go on sampling for a job that has ended."""
        for trajectory in [t for t in self._known.values() if t.job_arn == job_arn and t.policy is not None]:
            self.forget(trajectory)

    def forget_job(self, job_arn: str) -> None:
        """Know nothing of a job any more: its rollouts are not found, its counts start anew."""
        self._known = {key: known for key, known in self._known.items() if key[0] != job_arn}
        self.counts.pop(job_arn, None)

    def begin_sample(self, job_arn: str, rollout_id: str, request: Mapping[str, Any]) -> Trajectory:
        """Check that a Sample is allowed now, and whether it extends the conversation."""
        trajectory = self.get(job_arn, rollout_id)
        if trajectory.state != "open":
            self._count(job_arn, "sample_after_seal")
            raise TrajectoryError(
                "ValidationException", f"Trajectory {rollout_id} is not in valid status for sampling."
            )
        messages = request.get("messages") or []
        known = trajectory.last_messages
        if len(messages) < len(known) or list(messages[: len(known)]) != list(known):
            self._count(job_arn, "sample_not_extending")
        elif (
            trajectory.turns
            and len(messages) > len(known)
            and not _is_verbatim(messages[len(known)], trajectory)
        ):
            self._count(job_arn, "answer_not_verbatim")
        return trajectory

    def commit_sample(self, trajectory: Trajectory, request: Mapping[str, Any], turn: Sampled) -> None:
        """Record a sampled turn."""
        if trajectory.state != "open":  # sealed or closed while the policy was sampling
            self._count(trajectory.job_arn, "sample_after_seal")
            raise TrajectoryError(
                "ValidationException", f"Trajectory {trajectory.id} is not in valid status for sampling."
            )
        trajectory.last_messages = request["messages"]
        trajectory.turns.append(turn if trajectory.trained else replace(turn, trace=None))
        self._count(trajectory.job_arn, "samples")

    def seal(self, job_arn: str, rollout_id: str, status: str, token: str) -> None:
        trajectory = self.get(job_arn, rollout_id)
        if trajectory.state == status and token and token == trajectory.seal_token:
            self._count(job_arn, "seal_repeated")
            return
        if trajectory.state != "open":
            self._count(job_arn, "seal_refused")
            raise TrajectoryError(
                "ConflictException",
                f"Cannot transition trajectory {rollout_id} from {trajectory.state} to {status}: "
                "it is not in valid status.",
            )
        trajectory.state = "ready" if status == "ready" else "failed"
        trajectory.seal_token = token
        self._count(job_arn, f"sealed_{status}")
        if status == "failed":
            self._settle(trajectory)

    def reward(self, job_arn: str, rollout_id: str, rewards: tuple[float, ...], token: str) -> None:
        trajectory = self.get(job_arn, rollout_id)
        if trajectory.rewards is not None:
            if token and token == trajectory.reward_token and trajectory.rewards == rewards:
                self._count(job_arn, "reward_repeated")
                return
            self._count(job_arn, "reward_refused")
            raise TrajectoryError(
                "ConflictException", f"Trajectory {rollout_id} is not in valid status: it has its reward."
            )
        if trajectory.state not in ("ready", "failed"):
            kind = "reward_before_seal" if trajectory.state == "open" else "reward_refused"
            self._count(job_arn, kind)
            raise TrajectoryError(
                "ConflictException",
                f"Trajectory {rollout_id} is not in valid status for a reward: {trajectory.state}.",
            )
        if trajectory.state == "ready" and len(rewards) not in (1, len(trajectory.turns)):
            self._count(job_arn, "reward_misshapen")
            raise TrajectoryError(
                "ValidationException",
                f"Rewards: give one value or {len(trajectory.turns)}, one a turn, not {len(rewards)}.",
            )
        trajectory.rewards = rewards
        trajectory.reward_token = token
        self._count(job_arn, "rewards")
        self._settle(trajectory)

    def count(self, job_arn: str, kind: str) -> None:
        """Count something that happened to a job from outside (an injected fault, say)."""
        self._count(job_arn, kind)

    def _settle(self, trajectory: Trajectory) -> None:
        if trajectory.settled is not None:
            settled, trajectory.settled = trajectory.settled, None
            settled()

    def _count(self, job_arn: str, kind: str) -> None:
        self.counts.setdefault(job_arn, Counter())[kind] += 1


def _is_verbatim(message: object, trajectory: Trajectory) -> bool:
    # Any turn will do: after an uncertain one, the adapter holds another answer than the last.
    return any(message == turn.message for turn in trajectory.turns)

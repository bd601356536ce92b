"""What the trainer knows of one rollout once it is over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TrajectoryResult:
    """One trajectory: `ready` was sampled, sealed and rewarded, `failed` sealed so, `lost` is the rest."""

    rollout_id: str
    group: str
    """Rollouts of one prompt in one batch share it; advantages are relative to this group."""
    rewards: tuple[float, ...]
    """One value, or one a turn; empty for a failed or lost trajectory."""
    status: Literal["ready", "failed", "lost"]
    turns: int
    prompt_tokens: int
    """Summed over the turns, as billed: a later turn's prompt holds the earlier ones again."""
    response_tokens: int
    """Summed over the turns."""
    logprob_mean: float
    """Mean log-probability of the sampled actions under the policy that sampled them, in nats."""
    seconds: float
    """Wall time from the request to the reward."""

    @property
    def reward(self) -> float | None:
        """The scalar reward: the sum of the values, or None without a usable trajectory."""
        return float(sum(self.rewards)) if self.status == "ready" and self.rewards else None


def by_group(results: Sequence[TrajectoryResult]) -> list[list[TrajectoryResult]]:
    """The results of each group, groups and members in the order in which they first appear.

    This order is the one that `advantages` is called with and that `metrics` expects back.
    """
    groups: dict[str, list[TrajectoryResult]] = {}
    for result in results:
        groups.setdefault(result.group, []).append(result)
    return list(groups.values())

"""One training step: from the trajectories of a batch to new parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehearsal.policies.base import TrainablePolicy
from rehearsal.trainer.advantages import advantages
from rehearsal.trainer.hyperparameters import TrainingHyperparameters
from rehearsal.trainer.losses import coefficients
from rehearsal.trainer.optimizer import Adam

PASSES = 2
"""Optimizer steps on one batch. The second is off-policy, which is what the clipping is for."""


@dataclass(frozen=True, slots=True)
class Experience:
    """One rewarded trajectory."""

    rewards: tuple[float, ...]
    traces: Sequence[Any]
    """One a turn, as the policy made them."""
    logprobs: Sequence[float]
    """Of each turn, under the policy that sampled it."""


def update(
    policy: TrainablePolicy,
    groups: Sequence[Sequence[Experience]],
    hyperparameters: TrainingHyperparameters,
    adam: Adam,
) -> list[list[NDArray[np.float64]]]:
    """Move the policy along the gradient of the batch; returns the advantages, by group and trajectory.

    A batch whose advantages are all zero changes nothing.
    """
    hp = hyperparameters
    shares = advantages(
        hp.advantage_method,
        [[member.rewards for member in group] for group in groups],
        [[len(member.traces) for member in group] for group in groups],
    )
    members = [member for group in groups for member in group]
    traces = [trace for member in members for trace in member.traces]
    if not traces:
        return shares
    advantage = np.concatenate([share for group in shares for share in group])
    sampled = np.concatenate([np.asarray(member.logprobs, dtype=np.float64) for member in members])
    if not np.any(advantage):
        return shares
    for _ in range(PASSES):
        ratio = policy.log_probs(traces) - sampled
        weights = coefficients(hp.loss_fn, ratio, advantage, hp.clip_low_threshold, hp.clip_high_threshold)
        gradient = policy.gradient(traces, weights) / len(members)
        policy.load(adam.step(policy.parameters, gradient))
    return shares

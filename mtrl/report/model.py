"""What a report is made from. Plain data: whoever ran the rehearsal fills it in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of the held-out tasks, before or after training."""

    score: float
    """Mean of the external evaluation, in [0, 1]."""
    reward: float
    """Mean of the training signal on the same rollouts."""
    pass_at_k: Mapping[int, float] = field(default_factory=dict)
    """k to pass@k, in [0, 1]."""
    fields: Mapping[str, float] = field(default_factory=dict)
    """Output field to the share of rollouts that had it right, in [0, 1]."""
    stop_reasons: Mapping[str, int] = field(default_factory=dict)
    """Stop reason to the number of rollouts."""
    turns: Mapping[int, int] = field(default_factory=dict)
    """Number of turns to the number of rollouts."""


@dataclass(frozen=True, slots=True)
class RunData:
    """One rehearsal.

    `history` holds one mapping a step: `step`, and metrics under the service's names. Read here, each
    where present: `rollout/reward/mean`, `rollout/score/mean`, `val/reward/mean`, `val/score/mean`,
    `rollout/disagreement/count`, `training/num_trajectories`, `training/num_groups`,
    `analysis/zero_adv_nonzero_reward`, `analysis/zero_adv_zero_reward`.

    `transcripts` holds one mapping a rollout: `id`, `phase` (`base`, `trained` or `train`), `reward`,
    `score` (None where there is none), `stop_reason`, and `messages` in OpenAI form. They come from a
    model, so nothing in them is trusted.
    """

    environment: str
    domain: str
    seed: int
    steps: int
    seconds: float
    """Wall time of the whole rehearsal."""
    held_out: int
    """Tasks of the two evaluations; none of them was trained on."""
    base: Evaluation
    trained: Evaluation | None = None
    """None: the base policy was evaluated, and nothing else."""
    history: Sequence[Mapping[str, float]] = ()
    transcripts: Sequence[Mapping[str, Any]] = ()
    success_threshold: float = 1.0
    """A reward from here on is a success (the hyperparameter `success_threshold`)."""

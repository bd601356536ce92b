"""Metrics: the documented names, and what each one counts."""

import math
from typing import Any

import numpy as np
import pytest

from rehearsal.trainer.advantages import advantages
from rehearsal.trainer.metrics import (
    TrajectoryResult,
    advantage_metrics,
    by_group,
    evaluation_metrics,
    training_metrics,
)


def result(group: str, *rewards: float, **changes: Any) -> TrajectoryResult:
    fields: dict[str, Any] = {
        "rollout_id": "r",
        "group": group,
        "rewards": rewards,
        "status": "ready",
        "turns": 2,
        "prompt_tokens": 100,
        "response_tokens": 10,
        "logprob_mean": -0.5,
        "seconds": 1.0,
    }
    return TrajectoryResult(**{**fields, **changes})


LOST = {"status": "lost", "turns": 0, "prompt_tokens": 0, "response_tokens": 0}
BATCH = [
    result("a", 1.0, turns=1, response_tokens=4),
    result("b", 0.0),
    result("a", 0.0, turns=3, response_tokens=16),
    result("b", 0.0),
    result("c", 0.5, logprob_mean=-1.5),
    result("c", 0.5),
    result("d", status="failed"),
    result("d", **LOST),
]


def training() -> dict[str, float]:
    groups = by_group(BATCH)
    rows = advantages(
        "group_based", [[r.rewards for r in g] for g in groups], [[r.turns for r in g] for g in groups]
    )
    return training_metrics(BATCH, rows, timings={"step": 2.5}, counters={"epoch": 1, "global_step": 7})


def test_groups_keep_the_order_of_appearance() -> None:
    assert [[r.group for r in group] for group in by_group(BATCH)] == [[g, g] for g in "abcd"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rollout/reward/mean", 2 / 8),
        ("rollout/reward/valid_mean", 2 / 6),
        ("rollout/reward/max", 1.0),
        ("rollout/reward/min", 0.0),
        ("rollout/reward/zero_frac", 5 / 8),
        ("rollout/turns/mean", 14 / 7),
        ("rollout/turns/min", 1),
        ("rollout/turns/max", 3),
        ("rollout/tokens/prompt_mean", 100),
        ("rollout/tokens/response_mean", 10),
        ("rollout/tokens/response_min", 4),
        ("rollout/tokens/response_max", 16),
        ("rollout/tokens/response_std", math.sqrt(72 / 7)),
        ("rollout/logprob/mean", -4.5 / 7),
        ("rollout/logprob/min", -1.5),
        ("rollout/advantage/mean", 0.0),
        ("rollout/advantage/n_positive", 1),
        ("rollout/advantage/n_negative", 1),
        ("analysis/batch_completion_ratio", 7 / 8),
        ("analysis/batch_valid_ratio", 6 / 8),
        ("analysis/zero_adv_groups", 3),
        ("analysis/zero_adv_nonzero_reward", 1),
        ("analysis/zero_adv_zero_reward", 2),
        ("analysis/reward_variance_across_groups", np.var([0.5, 0.0, 0.5])),
        ("analysis/mean_group_reward_spread", 1 / 3),
        ("training/num_groups", 4),
        ("training/num_trajectories", 8),
        ("training/total_tokens", 7 * 110),
        ("training/epoch", 1),
        ("training/global_step", 7),
        ("timing_s/step", 2.5),
    ],
)
def test_training_value(name: str, value: float) -> None:
    assert training()[name] == pytest.approx(value)


def test_evaluation_under_both_prefixes() -> None:
    results = [result("a", 1.0), result("a", 0.0), result("b", 1.0), result("b", **LOST)]
    for prefix in ("val", "eval"):
        metrics = evaluation_metrics(results, prefix=prefix, pass_k_values=(1, 2, 4))
        assert metrics[f"{prefix}/reward/pass_at_1"] == 0.5
        assert metrics[f"{prefix}/reward/pass_at_2"] == 1.0
        assert metrics[f"{prefix}/reward/pass_power_2"] == 0.0
        assert metrics[f"{prefix}/reward/mean"] == 0.5
        assert metrics[f"{prefix}/reward/succeeded_rollouts"] == 3
        assert metrics[f"{prefix}/reward/failed_rollouts"] == 1
        assert f"{prefix}/turns/mean" in metrics
        assert f"{prefix}/tokens/response_mean" in metrics
        # k = 4 needs four samples of every prompt
        assert not any("_4" in name for name in metrics)


def test_success_is_reward_at_the_threshold() -> None:
    results = [result("a", 0.5), result("b", 0.49)]
    assert evaluation_metrics(results, success_threshold=0.5)["val/reward/pass_at_1"] == 0.5


def test_a_failed_trajectory_has_no_reward_even_if_one_was_posted() -> None:
    assert result("a", 1.0, status="failed").reward is None
    assert result("a", 0.25, 0.5).reward == 0.75


@pytest.mark.parametrize("results", [[], [result("a", **LOST)], [result("a", 0.1, logprob_mean=math.nan)]])
def test_only_finite_floats(results: list[TrajectoryResult]) -> None:
    rows = [[np.zeros(r.turns) for r in group] for group in by_group(results)]
    everything = {**training_metrics(results, rows), **evaluation_metrics(results)}
    assert all(type(value) is float and math.isfinite(value) for value in everything.values())


def test_advantages_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        advantage_metrics(by_group(BATCH), [])

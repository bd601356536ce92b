"""The metrics of a batch, under the names that users of the service know from MLflow.

Every value is a finite float. A statistic over nothing (no valid trajectory, say) is left out rather
than reported as 0, so a gap in a chart means "no data". The service documents the names; what each one
counts is defined here.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rehearsal.trainer.pass_at_k import mean_pass_at_k, mean_pass_power
from rehearsal.trainer.results import TrajectoryResult, by_group

__all__ = ["TrajectoryResult", "advantage_metrics", "by_group", "evaluation_metrics", "training_metrics"]

Array = NDArray[np.float64]


def training_metrics(
    results: Sequence[TrajectoryResult],
    advantages: Sequence[Sequence[Array]],
    *,
    timings: Mapping[str, float] | None = None,
    counters: Mapping[str, float] | None = None,
    prefix: str = "rollout",
) -> dict[str, float]:
    """Everything about one training step.

    Args:
        results: the batch, in any order.
        advantages: one array a trajectory, in the order of `by_group(results)`.
        timings: seconds by name: `step`, `training`, `rollout`, ... become `timing_s/<name>`.
        counters: `epoch`, `global_step`, `learning_rate`, ... become `training/<name>`.
        prefix: of the rollout statistics.
    """
    groups = by_group(results)
    tokens = sum(r.prompt_tokens + r.response_tokens for r in results)
    return _finite(
        {
            **_rollouts(results, prefix),
            **advantage_metrics(groups, advantages, prefix=prefix),
            # groups that the step was made of
            "training/num_groups": len(groups),
            # trajectories of the step, whatever became of them
            "training/num_trajectories": len(results),
            # prompt and response tokens of all turns
            "training/total_tokens": tokens,
            **{f"training/{name}": value for name, value in (counters or {}).items()},
            **{f"timing_s/{name}": value for name, value in (timings or {}).items()},
        }
    )


def advantage_metrics(
    groups: Sequence[Sequence[TrajectoryResult]],
    advantages: Sequence[Sequence[Array]],
    *,
    prefix: str = "rollout",
) -> dict[str, float]:
    """`<prefix>/advantage/*` over trajectories (a trajectory's mean over its turns), and `analysis/*`."""
    if [len(group) for group in groups] != [len(rows) for rows in advantages]:
        raise ValueError("advantages must have the shape of by_group(results).")
    everyone = [result for group in groups for result in group]
    rows = [row for group in advantages for row in group]
    means = np.array([row.mean() for row in rows if len(row)])
    where = f"{prefix}/advantage"
    return _finite(
        {
            **_spread(means, where, ("mean", "std", "min", "max")),
            # trajectories that the update makes more, and less, likely
            f"{where}/n_positive": int((means > 0).sum()),
            f"{where}/n_negative": int((means < 0).sum()),
            **_batch_health(everyone),
            **_group_health(groups, advantages),
        }
    )


def evaluation_metrics(
    results: Sequence[TrajectoryResult],
    *,
    prefix: str = "val",
    pass_k_values: Sequence[int] = (1,),
    success_threshold: float = 1.0,
) -> dict[str, float]:
    """Everything about one validation (`val`) or evaluation (`eval`) pass.

    Success is reward >= `success_threshold`; a failed or lost rollout is a sample without success. A k
    above the smallest group is left out, because pass@k needs k samples of every prompt.
    """
    where = f"{prefix}/reward"
    groups = by_group(results)
    counts = [(len(group), sum(_succeeded(r, success_threshold) for r in group)) for group in groups]
    ready = sum(r.reward is not None for r in results)
    out: dict[str, float] = {
        **_rollouts(results, prefix),
        # rollouts that were sealed ready and rewarded, whatever the reward
        f"{where}/succeeded_rollouts": ready,
        # all others: sealed failed, or lost
        f"{where}/failed_rollouts": len(results) - ready,
    }
    for k in pass_k_values:
        if counts and 1 <= k <= min(n for n, _ in counts):
            # at least one of k rollouts of a prompt succeeds, mean over prompts
            out[f"{where}/pass_at_{k}"] = mean_pass_at_k(counts, k)
            # all of k rollouts of a prompt succeed, mean over prompts
            out[f"{where}/pass_power_{k}"] = mean_pass_power(counts, k)
    return _finite(out)


def _rollouts(results: Sequence[TrajectoryResult], prefix: str) -> dict[str, float]:
    valid = [r.reward for r in results if r.reward is not None]
    rewards = np.array([r.reward or 0.0 for r in results])
    reward = f"{prefix}/reward"
    played = [r for r in results if r.turns]
    turns, prompts, responses, logprobs = (
        np.array([getattr(r, name) for r in played], dtype=np.float64)
        for name in ("turns", "prompt_tokens", "response_tokens", "logprob_mean")
    )
    return {
        # over all trajectories, one without a reward counted as 0
        **_spread(rewards, reward, ("mean", "std", "min", "max")),
        # over trajectories that were rewarded
        **({f"{reward}/valid_mean": float(np.mean(valid))} if valid else {}),
        # share of all trajectories with reward 0 or none
        **({f"{reward}/zero_frac": float((rewards == 0).mean())} if len(rewards) else {}),
        # Samples of a trajectory that had any
        **_spread(turns, f"{prefix}/turns", ("mean", "min", "max")),
        # summed over the turns of a trajectory
        **_spread(prompts, f"{prefix}/tokens/prompt", ("mean",), joint="_"),
        **_spread(responses, f"{prefix}/tokens/response", ("mean", "std", "min", "max"), joint="_"),
        # mean log-probability of what was sampled, nats
        **_spread(logprobs, f"{prefix}/logprob", ("mean", "std", "min", "max")),
    }


def _batch_health(results: Sequence[TrajectoryResult]) -> dict[str, float]:
    if not results:
        return {}
    return {
        # share of trajectories that the agent brought to an end, ready or failed
        "analysis/batch_completion_ratio": sum(r.status != "lost" for r in results) / len(results),
        # share that was sealed ready and rewarded, so can be trained on
        "analysis/batch_valid_ratio": sum(r.reward is not None for r in results) / len(results),
    }


def _group_health(
    groups: Sequence[Sequence[TrajectoryResult]], advantages: Sequence[Sequence[Array]]
) -> dict[str, float]:
    flat = [not any(row.any() for row in rows) for rows in advantages]
    rewards = [[r.reward for r in group if r.reward is not None] for group in groups]
    silent = [any(values) for values, zero in zip(rewards, flat, strict=True) if zero]
    filled = [values for values in rewards if values]
    out: dict[str, float] = {
        # groups without any gradient: no advantage in them differs from 0
        "analysis/zero_adv_groups": sum(flat),
        # of these, the ones where something was rewarded (all succeeded alike) ...
        "analysis/zero_adv_nonzero_reward": sum(silent),
        # ... and the ones where nothing was (all failed alike)
        "analysis/zero_adv_zero_reward": len(silent) - sum(silent),
    }
    if filled:
        # variance of the groups' mean rewards: how much prompts differ in difficulty
        out["analysis/reward_variance_across_groups"] = float(np.var([np.mean(v) for v in filled]))
        # mean over groups of max - min: how much there is to learn from within a group
        out["analysis/mean_group_reward_spread"] = float(np.mean([max(v) - min(v) for v in filled]))
    return out


def _spread(values: Array, name: str, which: Sequence[str], joint: str = "/") -> dict[str, float]:
    """Population statistics of `values` under `<name><joint><statistic>`; nothing of nothing."""
    if not len(values):
        return {}
    return {f"{name}{joint}{statistic}": float(getattr(values, statistic)()) for statistic in which}


def _succeeded(result: TrajectoryResult, threshold: float) -> bool:
    return result.reward is not None and result.reward >= threshold


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}

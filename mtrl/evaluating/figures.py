"""From rollouts to figures, each with its interval. The task is the unit: see `intervals`."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mtrl.evaluating.intervals import Interval, mean_interval, range_interval
from mtrl.evaluating.rollouts import LOST, Rollout, by_task
from rehearsal.trainer.metrics import TrajectoryResult, evaluation_metrics
from rehearsal.trainer.pass_at_k import pass_at_k, pass_power

SUCCESS = 1.0
"""A score from here on is a success; scores are strict, so there is nothing above it."""
PREFIXES = ("eval/reward/", "eval/turns/")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tasks and its 95 % interval."""

    value: float
    ci95: Interval


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one policy."""

    tasks: int
    rollouts: int
    score: Estimate
    completion: Estimate
    """Share of rollouts that ended with an answer, whatever it was."""
    completed_score: float | None
    """Mean score of these; None if there are none."""
    reward: Estimate
    pass_at_k: Mapping[int, Estimate]
    pass_power_k: Mapping[int, Estimate]
    fields: Mapping[str, Estimate]
    """Output field to the share of rollouts that had it right."""
    stop_reasons: Mapping[str, int]
    turns: Mapping[int, int]
    disagreements: int
    """Rollouts whose reward says success while the score is 0."""
    cut_short: int
    """Rollouts that the machinery ended and not the policy."""
    task_scores: Mapping[str, float]
    service: Mapping[str, float]
    """What the service's own evaluation job would report, under its names; by reward, not by score."""


def measure(rollouts: Sequence[Rollout], ks: Sequence[int], success: float = 1.0) -> Figures:
    """The figures of one policy's rollouts: for every task a whole group.

    Args:
        success: a reward from here on is a success, in the figures that are by reward.

    Raises:
        ValueError: there is no rollout.
    """
    groups = by_task(rollouts)
    binary = all(r.score in (0.0, 1.0) for r in rollouts)
    counts = [(len(group), sum(r.score >= SUCCESS for r in group)) for group in groups.values()]
    answered = [r for r in rollouts if r.answered]
    task_scores = {task: fmean(r.score for r in group) for task, group in groups.items()}
    return Figures(
        tasks=len(groups),
        rollouts=len(rollouts),
        score=_estimate(list(task_scores.values()), len(rollouts) if binary else None),
        completion=_share(groups, lambda r: r.answered),
        completed_score=fmean(r.score for r in answered) if answered else None,
        reward=_reward(groups),
        pass_at_k={k: _passes(counts, k, pass_at_k) for k in ks},
        pass_power_k={k: _passes(counts, k, pass_power) for k in ks},
        fields=_fields(groups),
        stop_reasons=dict(Counter(r.stop_reason for r in rollouts).most_common()),
        turns=dict(sorted(Counter(r.turns for r in rollouts).items())),
        disagreements=sum(r.disagrees for r in rollouts),
        cut_short=sum(not r.settled for r in rollouts),
        task_scores=task_scores,
        service=_service_metrics(rollouts, ks, success),
    )


def as_json(figures: Figures) -> dict[str, Any]:
    """The figures as they stand in the JSON output."""
    found: dict[str, Any] = {
        "score": figures.score.value,
        "ci95": list(figures.score.ci95),
        "completion": figures.completion.value,
        "completion_ci95": list(figures.completion.ci95),
        "completed_score": figures.completed_score,
        "reward": figures.reward.value,
        "reward_ci95": list(figures.reward.ci95),
    }
    for name, estimates in (
        ("pass_at_k", figures.pass_at_k),
        ("pass_power_k", figures.pass_power_k),
        ("per_field", figures.fields),
    ):
        found[name] = {str(key): each.value for key, each in estimates.items()}
        found[f"{name}_ci95"] = {str(key): list(each.ci95) for key, each in estimates.items()}
    return found | {
        "stop_reasons": dict(figures.stop_reasons),
        "disagreements": figures.disagreements,
        "cut_short": figures.cut_short,
        "tasks": figures.tasks,
        "rollouts": figures.rollouts,
        "service": dict(figures.service),
    }


def _estimate(tasks: Sequence[float], outcomes: float | None) -> Estimate:
    return Estimate(fmean(tasks), mean_interval(tasks, outcomes=outcomes))


def _share(groups: Mapping[str, Sequence[Rollout]], holds: Callable[[Rollout], bool]) -> Estimate:
    """The share of rollouts of which something holds."""
    tasks = [fmean(holds(r) for r in group) for group in groups.values()]
    return _estimate(tasks, sum(map(len, groups.values())))


def _reward(groups: Mapping[str, Sequence[Rollout]]) -> Estimate:
    """A rollout without a reward counts as 0, as in the service's `eval/reward/mean`."""
    tasks = [fmean(r.reward or 0.0 for r in group) for group in groups.values()]
    return Estimate(fmean(tasks), range_interval(tasks, -1.0, 1.0))


def _passes(counts: Sequence[tuple[int, int]], k: int, of_task: Callable[[int, int, int], float]) -> Estimate:
    # Whether any of k succeeds is one outcome of k rollouts, however many sets of k can be drawn from them.
    return _estimate([of_task(n, c, k) for n, c in counts], sum(n for n, _ in counts) / k)


def _fields(groups: Mapping[str, Sequence[Rollout]]) -> dict[str, Estimate]:
    """A field is asked for by a task of which any rollout names it; where no rollout of a task names any
    (nobody answered), all are taken as asked for. What a rollout does not name, it did not get right."""
    names = dict.fromkeys(name for group in groups.values() for r in group for name in r.fields)
    found = {}
    for name in names:
        asking = {
            task: group
            for task, group in groups.items()
            if any(name in r.fields for r in group) or not any(r.fields for r in group)
        }
        found[name] = _share(asking, lambda r, name=name: r.fields.get(name, False))  # type: ignore[misc]
    return found


def _service_metrics(rollouts: Sequence[Rollout], ks: Sequence[int], success: float) -> dict[str, float]:
    results = [
        TrajectoryResult(
            rollout_id=f"{r.task}-{r.member}",
            group=r.task,
            rewards=() if r.reward is None else (r.reward,),
            status="lost" if r.stop_reason == LOST else "failed" if r.reward is None else "ready",
            turns=r.turns,
            prompt_tokens=0,
            response_tokens=0,
            logprob_mean=0.0,
            seconds=r.seconds,
        )
        for r in rollouts
    ]
    metrics = evaluation_metrics(results, prefix="eval", pass_k_values=ks, success_threshold=success)
    return {name: value for name, value in metrics.items() if name.startswith(PREFIXES)}

"""What a rehearsal measured: scores from the adapter's own log, rewards from the service's metrics.

The score never goes to the service, so it is read where it is made: in the adapter's rollout lines.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from adapters.contract import RewardTerms
from mtrl.rehearsing.processes import read_json_lines
from mtrl.rehearsing.watching import in_doubt, step_of
from mtrl.report import Evaluation
from rehearsal.trainer.pass_at_k import mean_pass_at_k


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as it stands in the JSON output."""
    return {
        "score": evaluation.score,
        "reward": evaluation.reward,
        "pass_at_k": {str(k): value for k, value in evaluation.pass_at_k.items()},
        "fields": dict(evaluation.fields),
        "stop_reasons": dict(evaluation.stop_reasons),
        "rollouts": sum(evaluation.stop_reasons.values()),
    }


def first_disagreement(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The first training step in which a rollout was rewarded as a success and scored 0."""
    return next((int(line["step"]) for line in history if line.get("rollout/disagreement/count")), None)


class RolloutLog:
    """The rollout lines of an adapter's log, by job name."""

    def __init__(self, log: Path, terms: RewardTerms) -> None:
        self._terms = terms
        self._lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in read_json_lines(log):
            if line.get("event") == "rollout":
                self._lines[line["job_name"]].append(line)

    @property
    def total(self) -> int:
        return sum(map(len, self._lines.values()))

    def stop_reasons(self) -> dict[str, int]:
        return dict(Counter(str(line["stop_reason"]) for lines in self._lines.values() for line in lines))

    def evaluation(self, job: str, ks: Sequence[int]) -> Evaluation:
        """The evaluation job's figures; pass@k is by score, not by reward.

        Rollouts of one task share the front part of their id.
        """
        lines = self._lines[job]
        groups: dict[str, list[float]] = defaultdict(list)
        for line in lines:
            groups[_task_of(line["rollout_id"])].append(float(line.get("Score", 0.0)))
        counts = [(len(scores), sum(score >= 1.0 for score in scores)) for scores in groups.values()]
        return Evaluation(
            score=fmean(float(line.get("Score", 0.0)) for line in lines),
            reward=fmean(float(line.get("Reward", 0.0)) for line in lines),
            pass_at_k={k: mean_pass_at_k(counts, k) for k in ks if all(k <= n for n, _ in counts)},
            fields=_field_accuracy(lines),
            stop_reasons=dict(Counter(str(line["stop_reason"]) for line in lines)),
            turns=dict(sorted(Counter(int(line["Turns"]) for line in lines).items())),
        )

    def step_scores(self, job: str, phase: str) -> dict[int, float]:
        """The mean external score of each step's rollouts, by step from 1; `phase` is train or val."""
        steps = self._by_step(job, phase)
        return {step: fmean(float(line.get("Score", 0.0)) for line in lines) for step, lines in steps.items()}

    def step_disagreements(self, job: str, phase: str) -> dict[int, int]:
        """How many of each step's rollouts the reward calls a success while their score is 0."""
        steps = self._by_step(job, phase)
        return {step: sum(in_doubt(line, self._terms) for line in lines) for step, lines in steps.items()}

    def disagreements(self) -> int:
        """Rollouts of all jobs whose reward says success while the score is 0."""
        return sum(in_doubt(line, self._terms) for lines in self._lines.values() for line in lines)

    def _by_step(self, job: str, phase: str) -> dict[int, list[Mapping[str, Any]]]:
        steps: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for line in self._lines[job]:
            step = step_of(line, phase)
            if step is not None:
                steps[step].append(line)
        return dict(sorted(steps.items()))


def _task_of(rollout_id: str) -> str:
    return "-".join(rollout_id.split("-")[:3])


def _field_accuracy(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    right: dict[str, list[bool]] = defaultdict(list)
    for line in lines:
        for name, correct in line["score_fields"].items():
            right[name].append(bool(correct))
    return {name: fmean(values) for name, values in right.items()}

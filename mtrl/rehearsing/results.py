"""What a rehearsal measured: scores from the adapter's own log, rewards from the service's metrics.

The score never goes to the service, so it is read where it is made: in the adapter's rollout lines.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.contract import RewardTerms
from mtrl.evaluating.figures import measure
from mtrl.evaluating.rollouts import filled, read_rollouts
from mtrl.rehearsing.processes import read_json_lines
from mtrl.rehearsing.watching import in_doubt, step_of
from mtrl.report import Evaluation


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
    """The rollouts of an adapter's log, by job name. One that the service retried is one, as it ended."""

    def __init__(self, log: Path, terms: RewardTerms) -> None:
        self._log = log
        self._terms = terms
        self._lines: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for line in read_json_lines(log):
            if line.get("event") == "rollout":
                self._lines[line["job_name"]][_member_of(line["rollout_id"])] = line

    @property
    def total(self) -> int:
        return sum(map(len, self._lines.values()))

    def stop_reasons(self) -> dict[str, int]:
        return dict(Counter(str(line["stop_reason"]) for line in self._all()))

    def evaluation(self, job: str, ks: Sequence[int], *, tasks: int, group: int) -> Evaluation:
        """The evaluation job's figures, as `mtrl evaluate` counts them; pass@k is by score, not by reward."""
        rows = [str(row) for row in range(tasks)]
        found = read_rollouts(self._log, rows, job)
        figures = measure([r for row in rows for r in filled(row, found.get(row, {}), group)], ks)
        return Evaluation(
            score=figures.score.value,
            reward=figures.reward.value,
            pass_at_k={k: estimate.value for k, estimate in figures.pass_at_k.items()},
            fields={name: estimate.value for name, estimate in figures.fields.items()},
            stop_reasons=figures.stop_reasons,
            turns=figures.turns,
        )

    def step_scores(self, job: str, phase: str, rollouts: int) -> dict[int, float]:
        """The mean external score of each step's rollouts, by step from 1; `phase` is train or val.

        A step has `rollouts` of them; those of which the adapter wrote nothing are lost, and worth nothing.
        """
        steps = self._by_step(job, phase)
        return {
            step: sum(float(line.get("Score", 0.0)) for line in lines) / rollouts
            for step, lines in steps.items()
        }

    def step_disagreements(self, job: str, phase: str) -> dict[int, int]:
        """How many of each step's rollouts the reward calls a success while their score is 0."""
        steps = self._by_step(job, phase)
        return {step: sum(in_doubt(line, self._terms) for line in lines) for step, lines in steps.items()}

    def disagreements(self) -> int:
        """Rollouts of all jobs whose reward says success while the score is 0."""
        return sum(in_doubt(line, self._terms) for line in self._all())

    def _all(self) -> Iterator[Mapping[str, Any]]:
        return (line for lines in self._lines.values() for line in lines.values())

    def _by_step(self, job: str, phase: str) -> dict[int, list[Mapping[str, Any]]]:
        steps: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for line in self._lines[job].values():
            step = step_of(line, phase)
            if step is not None:
                steps[step].append(line)
        return dict(sorted(steps.items()))


def _member_of(rollout_id: str) -> str:
    """Phase, step, row and member: what follows names an attempt."""
    return "-".join(rollout_id.split("-")[:4])

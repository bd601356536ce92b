"""Reads the adapter's log while a rehearsal runs: how far a job is, and rewards that the score contradicts.

The score never goes to the service, so this is the only place where both are seen while there is still time
to stop.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from adapters.contract import RewardTerms
from mtrl.report.transcripts import disagrees


def in_doubt(line: Mapping[str, Any], terms: RewardTerms) -> bool:
    """Does a rollout line say success by its reward, and failure by its score?"""
    return disagrees({"reward": line.get("Reward"), "score": line.get("Score")}, terms.success)


def step_of(line: Mapping[str, Any], phase: str) -> int | None:
    """The step, from 1, of a rollout of a phase (train or val); None for another's."""
    kind, step, *_ = line["rollout_id"].split("-")
    return int(step) + 1 if kind == phase else None


class Watch:
    """One job's rollouts in a log that grows, reading only what is new."""

    def __init__(self, log: Path, job: str, terms: RewardTerms) -> None:
        self._log = log
        self._job = job
        self._terms = terms
        self._offset = 0
        self.rollouts = 0
        self.in_doubt = 0
        """Rollouts whose reward says success while the score is 0."""
        self.steps: Counter[int] = Counter()
        """Of these, the ones in training, by step from 1."""

    def look(self) -> None:
        """Read on."""
        for line in self._new_lines():
            if line.get("event") != "rollout" or line.get("job_name") != self._job:
                continue
            self.rollouts += 1
            if in_doubt(line, self._terms):
                self.in_doubt += 1
                step = step_of(line, "train")
                if step is not None:
                    self.steps[step] += 1

    def _new_lines(self) -> Iterator[Mapping[str, Any]]:
        with self._log.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]  # the last line may be half written
        self._offset += len(whole)
        for text in whole.splitlines():
            if text.startswith(b"{"):
                try:
                    yield orjson.loads(text)
                except ValueError:
                    continue

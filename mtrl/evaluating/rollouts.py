"""Rollouts of an evaluation as the adapter logged them, and which of them count as finished.

As in a rehearsal, the score is read where it is made: in the adapter's own log (ADR 005).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.contract import StopReason
from mtrl.rehearsing.processes import read_json_lines

_ROLLOUT_ID = re.compile(r"eval-\d+-(?P<row>\d+)-(?P<member>\d+)(?P<again>-[jsr]\d+)*")
LOST = "lost"
"""Stands for the stop reason of a rollout of which the adapter wrote nothing."""
CUT_SHORT = frozenset(
    {
        StopReason.POLICY_UNAVAILABLE,
        StopReason.DRAINED,
        StopReason.TRAJECTORY_GONE,
        StopReason.CRASHED,
        StopReason.POISONED,
        StopReason.EXPIRED,
        StopReason.DUPLICATE,
        LOST,
    }
)
"""Ends that say something of the machinery and not of the policy; --resume plays such rollouts again."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One finished rollout, with the adapter's own figures."""

    task: str
    member: int
    score: float
    """0 where the adapter could not score it."""
    reward: float | None
    """None for a rollout that was sealed as failed."""
    stop_reason: str
    turns: int = 0
    fields: Mapping[str, bool] = field(default_factory=dict)
    disagrees: bool = False
    seconds: float = 0.0
    id: str = ""
    """As the service named it; only within one run."""

    @property
    def settled(self) -> bool:
        return self.stop_reason not in CUT_SHORT

    @property
    def answered(self) -> bool:
        return self.stop_reason == StopReason.ANSWERED


def read_rollouts(log: Path, tasks: Sequence[str], job: str | None = None) -> dict[str, dict[int, Rollout]]:
    """The rollouts of one run, by task and member of its group.

    Args:
        log: of the adapter.
        tasks: task ids in the order of the run's data set.
        job: its name, where the log holds several.
    """
    found: dict[str, dict[int, Rollout]] = {}
    for line in read_json_lines(log) if log.exists() else ():
        match = _ROLLOUT_ID.fullmatch(str(line.get("rollout_id"))) if line.get("event") == "rollout" else None
        if match is not None and job in (None, line["job_name"]):
            # A rollout that the service retried was logged before: the last line is what it ended with.
            rollout = _rollout(line, tasks[int(match["row"])], int(match["member"]))
            found.setdefault(rollout.task, {})[rollout.member] = rollout
    return found


def complete(members: Mapping[int, Rollout], group: int) -> bool:
    """Whether a task is done: every member of its group was played to an end of its own."""
    return all(member in members and members[member].settled for member in range(group))


def filled(task: str, members: Mapping[int, Rollout], group: int) -> list[Rollout]:
    """The whole group; members of which nothing is known are lost, and worth nothing."""
    return [members.get(m) or Rollout(task, m, 0.0, None, LOST) for m in range(group)]


def _rollout(line: Mapping[str, Any], task: str, member: int) -> Rollout:
    return Rollout(
        task=task,
        member=member,
        score=float(line.get("Score", 0.0)),
        reward=float(line["Reward"]) if "Reward" in line and line["sealed"] == "ready" else None,
        stop_reason=str(line["stop_reason"]),
        turns=int(line["Turns"]),
        fields={name: bool(right) for name, right in line["score_fields"].items()},
        disagrees=bool(line["RewardScoreDisagreement"]),
        seconds=float(line["RolloutSeconds"]),
        id=str(line["rollout_id"]),
    )


def by_task(rollouts: Iterable[Rollout]) -> dict[str, list[Rollout]]:
    """The groups, in the order in which their tasks first appear."""
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.task, []).append(rollout)
    return groups

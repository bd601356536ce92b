"""The count: what became of every rollout, from the record of the wire and the service's own counters.

A trajectory that the service retries under a new id is the same rollout: a retry's id ends in -r1, -r2, …
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from bench.chaos_kit.wire import Call

RETRY = re.compile(r"-r\d+$")
BREACHES = (
    "seal_refused",
    "reward_before_seal",
    "reward_refused",
    "reward_misshapen",
    "sample_after_seal",
    "sample_not_extending",
    "answer_not_verbatim",
    "unknown_trajectory",
)
"""The service's counters that a client without a fault does not raise."""


@dataclass(frozen=True, slots=True)
class Result:
    """A row of results.json."""

    fault: str
    rollouts: int
    hit_in_flight: int
    lost: int
    double: int
    mixed: int
    uncertain_turns: int
    sealed_failed: int
    repeated_samples: int
    drain_p99_s: float | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Story:
    """What the wire says of one trajectory."""

    samples: list[Call] = field(default_factory=list)
    seals: list[Call] = field(default_factory=list)
    rewards: list[Call] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """It has its reward, or is sealed `failed`."""
        return any(c.status == 200 for c in self.rewards) or any(
            c.status == 200 and c.sealed == "failed" for c in self.seals
        )

    @property
    def double(self) -> int:
        """Seals and rewards after one that was accepted, and which were no repetition of it.

        The service takes a repetition with the same token without effect, and refuses all else: a second
        one that were accepted would show here as well, since it could only be of another status.
        """
        return sum(
            later.status == 409 or later.sealed != first.sealed
            for calls in (self.seals, self.rewards)
            for first, later in _after_first_accepted(calls)
        )

    @property
    def repeated(self) -> int:
        """Samples of a turn whose answer a worker had been given already."""
        given: set[int] = set()
        count = 0
        for call in self._accepted():
            count += call.turn in given
            if call.delivered:
                given.add(call.turn)
        return count

    @property
    def mixed(self) -> bool:
        """The conversation started over, or two claims went on with it in turns."""
        accepted = self._accepted()
        if any(later.turn < earlier.turn for earlier, later in pairwise(accepted)):
            return True
        order = [call.who for call in accepted]
        changes = [who for n, who in enumerate(order) if not n or order[n - 1] != who]
        came_back = len(set(changes)) < len(changes)
        return came_back and len({call.turn for call in accepted}) < len(accepted)

    @property
    def turns(self) -> int:
        """Turns that the service holds."""
        return len({call.turn for call in self._accepted()})

    @property
    def rewarded(self) -> bool:
        return any(c.status == 200 for c in self.rewards)

    @property
    def expired(self) -> bool:
        """Sealed `failed` by a worker, and never sampled."""
        return not self._accepted() and any(c.status == 200 and c.sealed == "failed" for c in self.seals)

    @property
    def uncertain(self) -> int:
        """Samples whose answer no worker got."""
        return sum(
            call.status is None or call.status >= 500 or (call.status == 200 and not call.delivered)
            for call in self.samples
        )

    def _accepted(self) -> list[Call]:
        return sorted((c for c in self.samples if c.status == 200), key=lambda call: call.began)


def _after_first_accepted(calls: Sequence[Call]) -> list[tuple[Call, Call]]:
    for n, call in enumerate(calls):
        if call.status == 200:
            return [(call, later) for later in calls[n + 1 :] if later.status in (200, 409)]
    return []


def stories(calls: Sequence[Call]) -> dict[str, Story]:
    """The calls by trajectory."""
    told: dict[str, Story] = {}
    for call in calls:
        story = told.setdefault(call.trajectory, Story())
        {"sample": story.samples, "complete": story.seals, "reward": story.rewards}[call.operation].append(
            call
        )
    return told


def lost(told: Mapping[str, Story], rollouts: int) -> int:
    """Rollouts that have no trajectory with an end."""
    return rollouts - len({RETRY.sub("", name) for name, story in told.items() if story.ended})


def cut_short(told: Mapping[str, Story], turns: int) -> int:
    """Trajectories that got a reward with fewer turns than the policy plays."""
    return sum(story.rewarded and story.turns < turns for story in told.values())


def sampled_in_vain(calls: Sequence[Call]) -> int:
    """Rollouts with a call that was not answered with success: what faults of the service have hit."""
    return len({call.trajectory for call in calls if call.status != 200})


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many are not above; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def drains(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds from `draining` to `stopped`, in the log of one life of a worker."""
    times = {
        line.get("event"): line["time"] for line in lines if line.get("event") in ("draining", "stopped")
    }
    return [times["stopped"] - times["draining"]] if len(times) == 2 else []

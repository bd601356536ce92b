"""Two policies on the same tasks: is the difference more than chance would make of two equal ones?

The test flips signs: if the policies were alike, each task's difference could as well have had the other
sign. It needs no assumption on how differences are distributed, and tasks, not rollouts, are what is flipped.
With one rollout a task it is McNemar's exact test.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mtrl.evaluating.intervals import Interval, difference_interval

DRAWS = 20_000
MAX_STEPS = 5_000
"""Of the exact distribution; above it (differences on no coarse grid) signs are drawn."""
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the second policy has over the first, on the tasks that both played."""

    tasks: int
    difference: float
    """Mean over tasks of the second's mean score minus the first's."""
    ci95: Interval
    p: float
    """Two-sided."""
    method: Literal["exact", "drawn"]
    better: int
    """Tasks where the second policy has the higher mean."""
    worse: int
    equal: int


def compare(first: Mapping[str, float], second: Mapping[str, float], *, group: int) -> Comparison:
    """Compare by tasks.

    Args:
        first, second: task id to mean score in [0, 1].
        group: rollouts of each task; scores of 0 and 1 make differences that are multiples of 1 / group.

    Raises:
        ValueError: they have no task in common.
    """
    shared = [task for task in first if task in second]
    differences = [second[task] - first[task] for task in shared]
    interval = difference_interval(differences)
    p, method = sign_flip(differences, group)
    signs = [(d > CLOSE) - (d < -CLOSE) for d in differences]
    return Comparison(
        tasks=len(shared),
        difference=sum(differences) / len(shared),
        ci95=interval,
        p=p,
        method=method,
        better=signs.count(1),
        worse=signs.count(-1),
        equal=signs.count(0),
    )


def sign_flip(differences: Sequence[float], group: int = 1) -> tuple[float, Literal["exact", "drawn"]]:
    """The two-sided p-value: how often random signs make a sum at least as far from 0.

    Exact where the differences are multiples of 1 / group: then their sums can be counted, all 2^n of them.
    Else `DRAWS` seeded draws, the observed one counted among them (Phipson and Smyth 2010), so that p is
    never 0 and never too small.
    """
    steps = [round(d * group) for d in differences]
    on_grid = all(abs(d * group - k) < CLOSE * group for d, k in zip(differences, steps, strict=True))
    if on_grid and sum(map(abs, steps)) <= MAX_STEPS:
        return _counted(steps), "exact"
    return _drawn(differences), "drawn"


def _counted(steps: Sequence[int]) -> float:
    sizes = [abs(step) for step in steps if step]
    total, observed = sum(sizes), abs(sum(steps))
    # ways[s]: choices of signs whose positive part is s; the sum of the signed steps is then 2 s - total.
    ways = [1] + [0] * total
    reached = 0
    for size in sizes:
        reached += size
        for s in range(reached, size - 1, -1):
            ways[s] += ways[s - size]
    extreme = sum(count for s, count in enumerate(ways) if abs(2 * s - total) >= observed)
    return float(extreme / 2 ** len(sizes))


def _drawn(differences: Sequence[float]) -> float:
    rng = random.Random(len(differences))  # noqa: S311 - the same data, the same p-value
    observed = abs(sum(differences)) - CLOSE
    extreme = 0
    for _ in range(DRAWS):
        signs = rng.getrandbits(len(differences))
        total = sum(d if signs >> i & 1 else -d for i, d in enumerate(differences))
        extreme += abs(total) >= observed
    return (1 + extreme) / (1 + DRAWS)

"""Confidence intervals for means over tasks, each of which was played several times.

Rollouts of one task are not independent, so the task is the unit: only its mean counts. A t-interval over
task means would do in the middle of the range, but it is too narrow near 0 and 1 and has no width at them,
which is where policies before and after training are. Wilson's interval has neither fault; it is for
independent trials, so it is given the number of them that would be as informative as these tasks are
(Kish's effective sample size), and Student's quantile, because that number is itself estimated.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist, fmean

CONFIDENCE = 0.95
NOTHING = 1e-12
"""A variance that is rounding."""
Interval = tuple[float, float]


def mean_interval(tasks: Sequence[float], *, outcomes: float | None = None) -> Interval:
    """The 95 % interval of the mean of which `tasks` are samples.

    Args:
        tasks: the mean of each task, in [0, 1].
        outcomes: how many independent ones of 0 or 1 they were made from: no interval is narrower than that
            many trials would give. The rollouts, or for pass@k the sets of k that they can be dealt into.
            None where outcomes may lie between 0 and 1.

    Raises:
        ValueError: there is no task, or a value is outside of [0, 1].
    """
    if not tasks or not all(0 <= value <= 1 for value in tasks):
        raise ValueError("an interval needs task means, each in [0, 1].")
    n, mean = len(tasks), min(max(fmean(tasks), 0.0), 1.0)
    if outcomes == n:  # one outcome a task: Wilson's interval as it is
        return _wilson(mean, n, NormalDist().inv_cdf(0.5 + CONFIDENCE / 2))
    return _wilson(mean, _effective(tasks, mean, outcomes), t_quantile(0.5 + CONFIDENCE / 2, max(n - 1, 1)))


def range_interval(tasks: Sequence[float], low: float, high: float) -> Interval:
    """The same for means in [low, high], such as rewards."""
    width = high - low
    below, above = mean_interval([min(max((value - low) / width, 0.0), 1.0) for value in tasks])
    return low + width * below, low + width * above


def difference_interval(differences: Sequence[float]) -> Interval:
    """The 95 % interval of a mean difference of paired tasks, each in [-1, 1].

    The same interval on (difference + 1) / 2. Where hardly a task differs, it is certain that most tasks are
    alike, and uncertain how often the others come: one task more, as far off as there is room, stands for
    those not seen. So the interval keeps a width (2 / tasks to each side) and does not span the whole room.

    Raises:
        ValueError: there is no task.
    """
    if not differences:
        raise ValueError("an interval needs at least one pair.")
    n = len(differences)
    mean = min(max(fmean(differences), -1.0), 1.0)
    room = 1 - mean * mean
    spread = sum((d - mean) ** 2 for d in differences) + room
    trials = max(float(n), room * n * (n + 1) / spread) if room > NOTHING else float(n)
    low, high = _wilson((mean + 1) / 2, trials, t_quantile(0.5 + CONFIDENCE / 2, max(n - 1, 1)))
    return 2 * low - 1, 2 * high - 1


@cache
def t_quantile(p: float, degrees: int) -> float:
    """Student's t with whole degrees of freedom: the value below which the share `p` (>= 0.5) lies."""
    low, high = 0.0, 1.0
    while _t_share(high, degrees) < p:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, degrees) < p else (low, middle)
    return high


def _effective(tasks: Sequence[float], mean: float, outcomes: float | None) -> float:
    """How many independent trials of 0 or 1 would have the variance that the mean of these tasks has."""
    n = len(tasks)
    spread = sum((value - mean) ** 2 for value in tasks) / (n - 1) / n if n > 1 else 0.0
    if spread < NOTHING and (outcomes is None or mean in (0.0, 1.0)):
        return n  # nothing varied: only that n tasks agree is known
    trials = mean * (1 - mean) / max(spread, NOTHING)
    # Means in [0, 1] never vary more than single outcomes do, so n tasks are worth n trials at least.
    return max(float(n), min(trials, outcomes or math.inf))


def _wilson(mean: float, trials: float, quantile: float) -> Interval:
    z2 = quantile * quantile
    centre = (mean + z2 / (2 * trials)) / (1 + z2 / trials)
    half = quantile / (1 + z2 / trials) * math.sqrt(mean * (1 - mean) / trials + z2 / (4 * trials * trials))
    # At 0 and 1 the bound is exactly there; floating point would put it next to it.
    low = 0.0 if mean == 0.0 else max(0.0, centre - half)
    return low, 1.0 if mean == 1.0 else min(1.0, centre + half)


def _t_share(t: float, degrees: int) -> float:
    """The share of Student's t below `t` >= 0: the finite series for whole degrees of freedom."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = total = cosine if odd else 1.0
    for j in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (j - 1) / j
        total += term
    if degrees == 1:
        total = 0.0
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + within / 2

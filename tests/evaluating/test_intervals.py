"""Intervals cover what they claim, on simulated policies; and they stay sane at the edges.

Coverage is checked on `TRIALS` seeded simulations a scenario. Its standard error at 95 % is 0.8 points, so
three of them below (2.4 points) is what a right method shows by chance; the methods themselves are
approximations that are off by up to about a point (measured with 2,000 simulations: 93.7 to 98 %). Too wide
is a lesser fault than too narrow, but an interval that always covers says nothing, so there is an upper
bound, too, where the method is not conservative by intent (see the difference of equal policies).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mtrl.evaluating.intervals import Interval, difference_interval, mean_interval, range_interval, t_quantile
from rehearsal.trainer.pass_at_k import pass_at_k, pass_power

TRIALS = 700
LOWEST = 0.95 - 0.024 - 0.01
HIGHEST = 0.99


def coverage(
    truth: float, interval: Callable[[np.random.Generator], Interval], seed: int = 1
) -> tuple[float, float]:
    """The share of simulations whose interval holds the truth, and the mean width."""
    rng = np.random.default_rng(seed)
    found = [interval(rng) for _ in range(TRIALS)]
    covered = sum(low <= truth <= high for low, high in found)
    return covered / TRIALS, sum(high - low for low, high in found) / TRIALS


@pytest.mark.parametrize(
    ("tasks", "group", "a", "b"),
    [
        (67, 4, 0.3, 6.0),  # an untrained policy: 5 %, a few tasks carry it
        (67, 4, 6.0, 0.3),  # a trained one: 95 %
        (67, 4, 1.0, 1.0),
        (67, 4, 50.0, 50.0),  # all tasks alike
        (67, 8, 0.05, 0.05),  # tasks are solved always or never: a group is worth one rollout
        (20, 4, 2.0, 2.0),
        (67, 1, 0.5, 4.5),  # one rollout a task
    ],
)
def test_a_score_is_covered_at_the_stated_rate(tasks: int, group: int, a: float, b: float) -> None:
    """Tasks have success probabilities from a Beta(a, b); the truth is its mean."""

    def sampled(rng: np.random.Generator) -> Interval:
        means = rng.binomial(group, rng.beta(a, b, tasks)) / group
        return mean_interval(means.tolist(), outcomes=tasks * group)

    covered, _ = coverage(a / (a + b), sampled)
    assert LOWEST <= covered <= HIGHEST


@pytest.mark.parametrize("of_task", [pass_at_k, pass_power])
def test_pass_at_k_is_covered_at_the_stated_rate(of_task: Callable[[int, int, int], float]) -> None:
    tasks, group, k, a, b = 67, 8, 2, 1.0, 2.0
    # E[p^2] of a Beta; 1 - E[(1 - p)^2] is that of the mirrored one.
    square = a * (a + 1) / ((a + b) * (a + b + 1))
    mirrored = b * (b + 1) / ((a + b) * (a + b + 1))
    truth = square if of_task is pass_power else 1 - mirrored

    def sampled(rng: np.random.Generator) -> Interval:
        wins = rng.binomial(group, rng.beta(a, b, tasks))
        return mean_interval([of_task(group, int(c), k) for c in wins], outcomes=tasks * group / k)

    covered, _ = coverage(truth, sampled)
    assert LOWEST <= covered <= HIGHEST


def test_a_fractional_score_is_covered_at_the_stated_rate() -> None:
    def sampled(rng: np.random.Generator) -> Interval:
        return mean_interval(rng.beta(8, 2, (40, 4)).mean(axis=1).tolist())

    covered, width = coverage(0.8, sampled)
    assert LOWEST <= covered <= HIGHEST
    assert width < 0.06  # as narrow as the data allows, not as 40 coin tosses would be


@pytest.mark.parametrize(
    ("tasks", "group", "gain", "a", "b"),
    [(67, 4, 0.1, 1.0, 1.0), (67, 1, 0.0, 1.0, 1.0), (67, 4, 0.9, 1.0, 20.0), (67, 1, 0.1, 0.05, 0.5)],
)
def test_a_difference_is_covered_at_the_stated_rate(
    tasks: int, group: int, gain: float, a: float, b: float
) -> None:
    many = np.random.default_rng(7).beta(a, b, 200_000)
    truth = float((np.clip(many + gain, 0, 1) - many).mean())

    def sampled(rng: np.random.Generator) -> Interval:
        p = rng.beta(a, b, tasks)
        wins = rng.binomial(group, np.clip(p + gain, 0, 1)) - rng.binomial(group, p)
        return difference_interval((wins / group).tolist())

    covered, _ = coverage(truth, sampled)
    assert LOWEST <= covered <= HIGHEST


def test_treating_rollouts_as_independent_would_not_cover() -> None:
    """The reason for all of this: with tasks solved always or never, 268 rollouts are 67 trials."""

    def naive(rng: np.random.Generator) -> Interval:
        means = rng.binomial(4, rng.beta(0.05, 0.05, 67)) / 4
        half = 1.96 * math.sqrt(means.mean() * (1 - means.mean()) / (67 * 4))
        return means.mean() - half, means.mean() + half

    covered, _ = coverage(0.5, naive)
    assert covered < 0.75


def test_one_rollout_a_task_is_wilsons_interval() -> None:
    """7 of 10: Wilson 1927, worked by hand from (p + z²/2n ± z sqrt(p q / n + z²/4n²)) / (1 + z²/n)."""
    z, n, p = 1.959963984540054, 10, 0.7
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(p + z * z / (2 * n) + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    assert mean_interval([1.0] * 7 + [0.0] * 3, outcomes=10) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_alike_keeps_a_width_and_touches_the_edge(value: float) -> None:
    low, high = mean_interval([value] * 67, outcomes=268)
    assert value in (low, high)
    assert 0.05 < high - low < 0.06  # about 3.8 / 67: the rule of three, two-sided
    assert mean_interval([value] * 67, outcomes=268) == (low, high)


def test_no_interval_is_narrower_than_its_rollouts_allow() -> None:
    """Two of four in every task: no spread at all between tasks, and still only 40 tosses."""
    low, high = mean_interval([0.5] * 10, outcomes=40)
    assert high - low > 0.3


def test_a_single_task_says_next_to_nothing() -> None:
    low, high = mean_interval([0.5], outcomes=2)
    assert high - low > 0.9
    assert -1 <= difference_interval([0.5])[0] < 0.5 < difference_interval([0.5])[1] <= 1


def test_equal_policies_differ_by_nothing_give_or_take_two_tasks() -> None:
    low, high = difference_interval([0.0] * 67)
    assert low == pytest.approx(-high)
    assert high == pytest.approx(2 / 67, rel=0.05)


def test_rewards_have_their_own_range() -> None:
    low, high = range_interval([-0.1, 0.0, 1.0, 1.0, 0.2] * 10, -1.0, 1.0)
    assert -1 <= low < 0.42 < high <= 1
    assert range_interval([1.0] * 20, -1.0, 1.0)[1] == 1.0


@pytest.mark.parametrize("tasks", [[], [1.2], [-0.1], [math.nan]])
def test_what_is_no_share_is_refused(tasks: Sequence[float]) -> None:
    with pytest.raises(ValueError, match="task means"):
        mean_interval(tasks)


def test_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        difference_interval([])


@pytest.mark.parametrize(
    ("degrees", "table"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_students_quantile_is_the_table_s(degrees: int, table: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(table, abs=0.0006)

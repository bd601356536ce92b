"""The paired test: exact where it says so, and right as often as it says under the null."""

from itertools import product
from math import comb

import numpy as np
import pytest

from mtrl.evaluating.comparing import compare, sign_flip


def by_hand(differences: list[float]) -> float:
    """Every choice of signs, one by one."""
    observed = abs(sum(differences)) - 1e-9
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in product((1, -1), repeat=len(differences))]  # fmt: skip
    return sum(abs(total) >= observed for total in sums) / len(sums)


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_p_value_is_that_of_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = (rng.integers(-4, 5, 10) / 4).tolist()
    p, method = sign_flip(differences, 4)
    assert method == "exact"
    assert p == pytest.approx(by_hand(differences))


def test_with_one_rollout_a_task_it_is_mcnemars_exact_test() -> None:
    """9 tasks won, 2 lost, 20 alike: twice the tail of a fair coin over the 11 that differ."""
    p, _ = sign_flip([1.0] * 9 + [-1.0] * 2 + [0.0] * 20)
    assert p == pytest.approx(2 * sum(comb(11, i) for i in range(3)) / 2**11)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip([0.0] * 5) == (1.0, "exact")


def test_values_on_no_grid_are_drawn_and_close_to_enumeration() -> None:
    differences = np.random.default_rng(3).normal(0.3, 0.5, 12).clip(-1, 1).tolist()
    p, method = sign_flip(differences, 4)
    assert method == "drawn"
    # 20,000 draws: a standard error of at most 0.0036.
    assert p == pytest.approx(by_hand(differences), abs=0.012)
    assert sign_flip(differences, 4) == (p, method)  # seeded: the same data, the same p


def test_a_drawn_p_value_is_never_zero() -> None:
    p, method = sign_flip([0.333] * 40)
    assert method == "drawn"
    assert 0 < p <= 1e-4


@pytest.mark.parametrize("group", [1, 4])
def test_p_values_are_uniform_under_the_null(group: int) -> None:
    """Two policies with the same success probability in each task, 1,500 seeded simulations.

    A valid p-value has P(p <= a) <= a; a useful one comes close. Values lie on a grid, so it stays below. The
    standard error of the share at a = 0.05 is 0.0056 and at 0.5 it is 0.013: three of them are allowed.
    """
    rng = np.random.default_rng(11)
    tasks, trials = 60, 1500
    found = np.empty(trials)
    for i in range(trials):
        chance = rng.beta(1.0, 1.0, tasks)
        wins = rng.binomial(group, chance) - rng.binomial(group, chance)
        found[i] = sign_flip((wins / group).tolist(), group)[0]
    for level, slack in ((0.01, 0.0026), (0.05, 0.0056), (0.1, 0.0078), (0.25, 0.0112), (0.5, 0.0129)):
        share = float((found <= level).mean())
        assert share <= level + 3 * slack
        # The grid of group 1 is coarse: with some 20 tasks that differ, p jumps by up to a half at 0.05.
        assert share >= (0.4 if group == 1 else 0.7) * level


def test_it_finds_a_difference_that_is_there() -> None:
    rng = np.random.default_rng(5)
    chance = rng.beta(1.0, 1.0, 60)
    wins = rng.binomial(4, np.clip(chance + 0.2, 0, 1)) - rng.binomial(4, chance)
    assert sign_flip((wins / 4).tolist(), 4)[0] < 0.001


def test_a_comparison_counts_only_tasks_that_both_played() -> None:
    first = {"a": 0.0, "b": 0.5, "c": 1.0, "only": 1.0}
    second = {"c": 0.5, "a": 1.0, "b": 0.5}
    found = compare(first, second, group=2)
    assert (found.tasks, found.better, found.worse, found.equal) == (3, 1, 1, 1)
    assert found.difference == pytest.approx(0.5 / 3)
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert found.p == pytest.approx(by_hand([1.0, 0.0, -0.5]))


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        compare({"a": 1.0}, {"b": 1.0}, group=1)

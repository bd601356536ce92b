"""Advantages: each formula by hand, and the laws that hold for all of them."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.trainer.advantages import METHODS, AdvantageError, advantages

ONE = [[(1.0,), (0.0,), (0.5,)]]
ONE_TURNS = [[1, 2, 3]]


def firsts(
    method: str, groups: Sequence[Sequence[tuple[float, ...]]], turns: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The advantage of each trajectory's first turn."""
    rows = advantages(method, groups, turns)
    return [[float(row[0]) for row in group] for group in rows]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # mean 0.5, sample deviation 0.5
        ("group_based", [1.0, -1.0, 0.0]),
        # 1 - mean(0, .5), 0 - mean(1, .5), .5 - mean(1, 0)
        ("rloo", [0.75, -0.75, 0.0]),
        ("monte_carlo", [1.0, 0.0, 0.5]),
        ("reinforce_pp", [1.0, -1.0, 0.0]),
        ("reinforce_pp_baseline", [1.0, -1.0, 0.0]),
        # baseline (1 * 1 + 2 * 0 + 3 * 0.5) / 6
        ("opo", [1 - 2.5 / 6, -2.5 / 6, 0.5 - 2.5 / 6]),
        # the best leads the second by 0.5
        ("grpo_passk", [1.0, 0.0, 0.0]),
        ("gpg", [0.5, -0.5, 0.0]),
    ],
)
def test_formula_on_one_group(method: str, expected: list[float]) -> None:
    assert firsts(method, ONE, ONE_TURNS)[0] == pytest.approx(expected, abs=1e-5)


def test_every_turn_of_a_trajectory_gets_the_same_scalar_advantage() -> None:
    for method in METHODS:
        rows = advantages(method, ONE, ONE_TURNS)[0]
        assert [len(row) for row in rows] == [1, 2, 3]
        if method != "group_based_per_turn":
            assert all((row == row[0]).all() for row in rows)


def test_batch_methods_mix_groups_and_group_methods_do_not() -> None:
    groups = [[(1.0,), (0.9,)], [(0.1,), (0.0,)]]
    turns = [[1, 1], [1, 1]]
    # In its own group 0.1 is the better one; in the batch it is below the mean.
    assert firsts("group_based", groups, turns)[1][0] > 0
    assert firsts("reinforce_pp", groups, turns)[1][0] < 0
    baseline = firsts("reinforce_pp_baseline", groups, turns)
    # differences +-0.05 in both groups; their sample deviation over the batch is 0.05 * sqrt(4/3)
    assert baseline == [pytest.approx([np.sqrt(3) / 2, -np.sqrt(3) / 2], abs=1e-4)] * 2


def test_gpg_scales_up_for_groups_without_a_gradient() -> None:
    groups: list[list[tuple[float, ...]]]
    groups = [[(1.0,), (0.0,)], [(1.0,), (1.0,)], [(0.0,), (0.0,)], [()]]
    rows = firsts("gpg", groups[:3], [[1, 1]] * 3)
    assert rows == [[1.5, -1.5], [0.0, 0.0], [0.0, 0.0]]
    # a group that was lost altogether is no group
    assert advantages("gpg", groups, [[1, 1]] * 3 + [[0]])[0][0][0] == 1.5


def test_passk_gives_ties_nothing() -> None:
    assert firsts("grpo_passk", [[(1.0,), (1.0,), (0.0,)]], [[1, 1, 1]]) == [[0.0, 0.0, 0.0]]


def test_per_turn_uses_returns_of_the_same_turn_index() -> None:
    groups = [[(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)]]
    rows = advantages("group_based_per_turn", groups, [[2, 2, 2]])[0]
    # returns at turn 0: 1, 1, 0 (mean 2/3, deviation 1/sqrt 3); at turn 1: 1, 0, 0 (mean 1/3)
    assert [row[0] for row in rows] == pytest.approx(
        [1 / np.sqrt(3), 1 / np.sqrt(3), -2 / np.sqrt(3)], abs=1e-4
    )
    assert [row[1] for row in rows] == pytest.approx(
        [2 / np.sqrt(3), -1 / np.sqrt(3), -1 / np.sqrt(3)], abs=1e-4
    )


def test_per_turn_reads_one_value_as_the_last_turns_reward() -> None:
    scalar = advantages("group_based_per_turn", [[(1.0,), (0.0,)]], [[3, 2]])[0]
    spelled = advantages("group_based_per_turn", [[(0.0, 0.0, 1.0), (0.0, 0.0)]], [[3, 2]])[0]
    for a, b in zip(scalar, spelled, strict=True):
        assert a == pytest.approx(b)
    # turns 0 and 1 were reached by both, turn 2 by one only: nothing to compare it with
    assert scalar[0] == pytest.approx([1 / np.sqrt(2), 1 / np.sqrt(2), 0.0], abs=1e-4)


def test_scalar_methods_take_the_sum_of_per_turn_rewards() -> None:
    groups = [[(0.25, 0.75), (0.0, 0.0)]]
    assert firsts("monte_carlo", groups, [[2, 2]]) == [[1.0, 0.0]]


@pytest.mark.parametrize("method", METHODS)
def test_a_failed_trajectory_changes_nothing_for_the_others(method: str) -> None:
    alone = advantages(method, [[(1.0,), (0.0,)]], [[2, 2]])[0]
    with_failed = advantages(method, [[(1.0,), (), (0.0,)]], [[2, 3, 2]])[0]
    assert with_failed[0] == pytest.approx(alone[0])
    assert with_failed[2] == pytest.approx(alone[1])
    assert not with_failed[1].any()
    assert len(with_failed[1]) == 3


@pytest.mark.parametrize("method", [m for m in METHODS if m != "monte_carlo"])
@pytest.mark.parametrize("group", [[(0.7,)], [(0.1,)] * 3, [(), ()], []])
def test_nothing_to_compare_is_exactly_zero(method: str, group: list[tuple[float, ...]]) -> None:
    rows = advantages(method, [group], [[2] * len(group)])[0]
    assert len(rows) == len(group)
    assert all((row == 0.0).all() for row in rows)


# Those that look at the batch alone, and the one without a baseline, tell a flat group from the others.
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("monte_carlo", "reinforce_pp")])
def test_a_flat_group_stays_exactly_zero_beside_others(method: str) -> None:
    # Means that are no binary fractions: what is centred does not sum to exactly 0.
    groups = [[(0.1,), (0.2,), (0.6,)], [(0.3,)] * 3, [(0.9,), (0.15,), (0.35,)], [(1.0,)] * 3]
    rows = advantages(method, groups, [[1] * 3] * 4)
    assert [any(row.any() for row in group) for group in rows] == [True, False, True, False]


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_batch(method: str) -> None:
    assert advantages(method, [], []) == []


def test_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(AdvantageError, match=r"'grpo'.*monte_carlo, group_based.*group_based_per_turn"):
        advantages("grpo", ONE, ONE_TURNS)


@pytest.mark.parametrize(
    ("groups", "turns", "text"),
    [
        ([[(1.0,)]], [[1, 1]], "shape"),
        ([[(1.0,)]], [], "shape"),
        ([[(1.0, 2.0)]], [[3]], "2 rewards for 3 turns"),
        ([[(1.0,), (float("nan"),)]], [[1, 1]], "group 0, trajectory 1: rewards must be finite"),
        ([[(1.0,)]], [[-1]], "-1 turns"),
    ],
)
def test_rewards_that_do_not_fit_are_refused(
    groups: Sequence[Sequence[tuple[float, ...]]], turns: list[list[int]], text: str
) -> None:
    with pytest.raises(AdvantageError, match=text):
        advantages("rloo", groups, turns)


rewards = st.one_of(st.just(()), st.tuples(st.floats(-1, 1)))
batches = st.lists(st.lists(st.tuples(rewards, st.integers(1, 4)), max_size=5), max_size=4)


@given(batches, st.sampled_from(METHODS))
def test_shape_and_finiteness(batch: list[list[tuple[tuple[float, ...], int]]], method: str) -> None:
    groups = [[r for r, _ in group] for group in batch]
    turns = [[t for _, t in group] for group in batch]
    rows = advantages(method, groups, turns)
    assert [[len(row) for row in group] for group in rows] == turns
    assert all(np.isfinite(row).all() for group in rows for row in group)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(-3, 3))
def test_a_constant_on_all_rewards_of_a_group_changes_no_relative_advantage(
    values: list[float], shift: float
) -> None:
    turns = [[1] * len(values)]
    plain = firsts("rloo", [[(v,) for v in values]], turns)[0]
    shifted = firsts("rloo", [[(v + shift,) for v in values]], turns)[0]
    assert shifted == pytest.approx(plain, abs=1e-9)
    assert sum(plain) == pytest.approx(0.0, abs=1e-9)

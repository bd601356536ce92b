"""pass@k and pass^k against enumeration of every draw."""

from itertools import combinations

import pytest

from rehearsal.trainer.pass_at_k import mean_pass_at_k, mean_pass_power, pass_at_k, pass_power

CASES = [(n, c, k) for n in range(1, 8) for c in range(n + 1) for k in range(1, n + 1)]


@pytest.mark.parametrize(("n", "c", "k"), CASES)
def test_against_brute_force(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(d) for d in draws) / len(draws))
    assert pass_power(n, c, k) == pytest.approx(sum(all(d) for d in draws) / len(draws))


def test_k_1_is_the_mean_success() -> None:
    counts = [(8, 3), (8, 0), (8, 8)]
    assert mean_pass_at_k(counts, 1) == mean_pass_power(counts, 1) == pytest.approx(11 / 24)


def test_prompts_count_alike_whatever_their_samples() -> None:
    assert mean_pass_at_k([(2, 2), (8, 0)], 2) == 0.5
    assert mean_pass_power([(2, 1), (8, 8)], 2) == 0.5


def test_large_samples_do_not_overflow() -> None:
    assert 0 < pass_at_k(2000, 1, 1000) < 1


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"samples"):
        pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=r"samples"):
        pass_power(n, c, k)


def test_no_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        mean_pass_at_k([], 1)

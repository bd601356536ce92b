"""pass@k and pass^k from n samples of each prompt, c of which succeeded.

Both are expectations over a draw of k of the n samples without replacement, so both are unbiased in the
policy's own pass@k and pass^k as long as n >= k.
"""

from collections.abc import Sequence
from math import comb


def pass_at_k(samples: int, successes: int, k: int) -> float:
    """At least one of k succeeds: 1 - C(n - c, k) / C(n, k). Chen et al. 2021, arXiv:2107.03374, eq. 1.

    Raises:
        ValueError: unless 0 <= successes <= samples and 1 <= k <= samples.
    """
    _check(samples, successes, k)
    return 1.0 - comb(samples - successes, k) / comb(samples, k)


def pass_power(samples: int, successes: int, k: int) -> float:
    """All of k succeed, pass^k: C(c, k) / C(n, k). Yao et al. 2024 (tau-bench), arXiv:2406.12045.

    Raises:
        ValueError: as `pass_at_k`.
    """
    _check(samples, successes, k)
    return comb(successes, k) / comb(samples, k)


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float:
    """The mean of `pass_at_k` over prompts, each (samples, successes). Raises ValueError without any."""
    return sum(pass_at_k(n, c, k) for n, c in _some(counts)) / len(counts)


def mean_pass_power(counts: Sequence[tuple[int, int]], k: int) -> float:
    """The mean of `pass_power` over prompts, each (samples, successes). Raises ValueError without any."""
    return sum(pass_power(n, c, k) for n, c in _some(counts)) / len(counts)


def _some(counts: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    if not counts:
        raise ValueError("pass@k needs at least one prompt.")
    return counts


def _check(samples: int, successes: int, k: int) -> None:
    if not 0 <= successes <= samples:
        raise ValueError(f"{successes} successes of {samples} samples.")
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples of each prompt, not {samples}.")

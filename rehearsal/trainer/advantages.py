"""Advantages: how much better than expected each turn of each trajectory was.

A method sees the rewards of the whole batch, group by group (a group is the rollouts of one prompt). All
methods but `group_based_per_turn` look at one scalar a trajectory, the sum of its reward values, and give
every turn of the trajectory the same advantage.

Three laws hold for every method:
- a trajectory without rewards (failed, lost) gets zeros and takes no part in any mean or deviation;
- where there is nothing to compare with (one trajectory, all rewards equal) a relative advantage is
  exactly 0, so that rounding never becomes a gradient;
- deviations are sample deviations (n - 1), as in the public trainers (TRL, verl).

The service documents the names of the methods, not their formulas; the formulas here are those of the
publications named below.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Method = Callable[[Sequence[Array], Sequence[Array]], list[Array]]
"""From (scalar rewards, numbers of turns) of each group's trajectories to one advantage for each."""

EPSILON = 1e-6
"""Added to a deviation before dividing by it; far below the rewards' own scale."""


class AdvantageError(ValueError):
    """The method is unknown, or the rewards and turns do not fit together."""


def advantages(
    method: str, groups: Sequence[Sequence[tuple[float, ...]]], turns: Sequence[Sequence[int]]
) -> list[list[Array]]:
    """The advantage of every turn.

    Args:
        method: one of `METHODS`.
        groups: for each group, for each trajectory, its reward values: one, one a turn, or none.
        turns: the number of turns, in the same shape.

    Returns:
        In the same shape, an array of length `turns` for each trajectory; finite.

    Raises:
        AdvantageError: unknown method (the message lists the known ones), shapes that differ, a reward
            that is not finite, or as many reward values as fit neither one nor the turns.
    """
    if method not in METHODS:
        raise AdvantageError(f"unknown advantage_method {method!r}. Known: {', '.join(METHODS)}.")
    _check(groups, turns)
    if method == PER_TURN:
        return [_per_turn(group, lengths) for group, lengths in zip(groups, turns, strict=True)]
    used = [[i for i, rewards in enumerate(group) if rewards] for group in groups]
    scalars = [
        np.array([sum(group[i]) for i in picked], dtype=np.float64)
        for group, picked in zip(groups, used, strict=True)
    ]
    lengths = [
        np.array([counts[i] for i in picked], dtype=np.float64)
        for counts, picked in zip(turns, used, strict=True)
    ]
    result = [[np.zeros(length) for length in counts] for counts in turns]
    for rows, picked, values in zip(result, used, _SCALAR[method](scalars, lengths), strict=True):
        for i, value in zip(picked, values, strict=True):
            rows[i][:] = value
    return result


def group_based(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A = (r - mean(group)) / (std(group) + eps). GRPO: Shao et al. 2024, arXiv:2402.03300."""
    return [_divide(_centred(group), _deviation(group)) for group in rewards]


def rloo(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A_i = r_i - mean of the others = n / (n - 1) * (r_i - mean). Ahmadian et al. 2024, arXiv:2402.14740."""
    return [_centred(group) * (len(group) / max(len(group) - 1, 1)) for group in rewards]


def monte_carlo(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A = r: REINFORCE without a baseline (Williams 1992)."""
    return [group.copy() for group in rewards]


def reinforce_pp(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A = (r - mean(batch)) / (std(batch) + eps), whatever the group.

    REINFORCE++: Hu et al. 2025, arXiv:2501.03262, here without the KL term (the service names none) and
    with every trajectory counted once, whatever its length.
    """
    return _whitened(rewards)


def reinforce_pp_baseline(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """d = r - mean(group); A = d / (std(batch d) + eps).

    The REINFORCE++-baseline variant of arXiv:2501.03262, as above counted by trajectory. Its formula also
    subtracts the batch mean of d, which is 0 but for rounding: a gradient to every group that has none.
    """
    centred = [_centred(group) for group in rewards]
    deviation = _deviation(np.concatenate(centred)) if centred else 0.0
    return [_divide(group, deviation) for group in centred]


def opo(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A = r - sum(l * r) / sum(l) over the group: the length-weighted baseline, l = turns here.

    OPO: Hao et al. 2025, arXiv:2505.23585, which weights by response length in tokens.
    """
    return [_centred(group, lengths) for group, lengths in zip(rewards, turns, strict=True)]


def grpo_passk(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A_i = (max(group) - max(group without i)) / (std(group) + eps).

    The leave-one-out form of the max (pass@k) objective, Tang et al. 2025, arXiv:2503.19595, with GRPO's
    deviation: the single best trajectory gets its lead over the second, every other and every tie gets 0.
    """
    return [_divide(_lead(group), _deviation(group)) for group in rewards]


def gpg(rewards: Sequence[Array], turns: Sequence[Array]) -> list[Array]:
    """A = alpha * (r - mean(group)), alpha = groups / groups whose rewards differ.

    GPG: Chu et al. 2025, arXiv:2504.02546: no deviation, and the gradient is scaled up for the groups that
    give none. Groups without any reward count in neither number.
    """
    filled = sum(len(group) > 0 for group in rewards)
    telling = sum(len(group) > 0 and not _equal(group) for group in rewards)
    return [_centred(group) * (filled / max(telling, 1)) for group in rewards]


def _per_turn(group: Sequence[tuple[float, ...]], turns: Sequence[int]) -> list[Array]:
    """A_t = (G_t - mean_t) / (std_t + eps), G_t = r_t + r_(t+1) + ...: GRPO at each turn index.

    Mean and deviation are over the trajectories of the group that have a turn t, so a turn that only
    one trajectory reached is 0. One value for the whole trajectory is taken as the last turn's reward.
    The process-supervision form of arXiv:2402.03300, 4.1.3, with returns instead of step rewards.
    """
    result = [np.zeros(length) for length in turns]
    returns = [_returns(rewards, length) for rewards, length in zip(group, turns, strict=True)]
    for t in range(max(map(len, returns), default=0)):
        rows = [i for i, row in enumerate(returns) if len(row) > t]
        column = np.array([returns[i][t] for i in rows])
        for i, value in zip(rows, _divide(_centred(column), _deviation(column)), strict=True):
            result[i][t] = value
    return result


def _returns(rewards: tuple[float, ...], turns: int) -> Array:
    if not rewards or not turns:
        return np.zeros(0)
    row = np.zeros(turns)
    row[-len(rewards) :] = rewards
    return row[::-1].cumsum()[::-1]


def _centred(values: Array, weights: Array | None = None) -> Array:
    if _equal(values):
        return np.zeros(len(values))
    if weights is not None and not weights.any():
        weights = None
    return np.asarray(values - np.average(values, weights=weights), dtype=np.float64)


def _equal(values: Array) -> bool:
    return len(values) == 0 or bool(values.max() == values.min())


def _deviation(values: Array) -> float:
    return 0.0 if _equal(values) else float(values.std(ddof=1))


def _divide(values: Array, deviation: float) -> Array:
    return values / (deviation + EPSILON)


def _whitened(groups: Sequence[Array]) -> list[Array]:
    if not groups:
        return []
    batch = np.concatenate(groups)
    values = _divide(_centred(batch), _deviation(batch))
    return np.split(values, np.cumsum([len(group) for group in groups])[:-1])


def _lead(group: Array) -> Array:
    lead = np.zeros(len(group))
    if len(group) > 1:
        order = np.argsort(group)
        lead[order[-1]] = group[order[-1]] - group[order[-2]]
    return lead


def _check(groups: Sequence[Sequence[tuple[float, ...]]], turns: Sequence[Sequence[int]]) -> None:
    if [len(group) for group in groups] != [len(counts) for counts in turns]:
        raise AdvantageError("groups and turns differ in shape: give one number of turns a trajectory.")
    for g, (group, counts) in enumerate(zip(groups, turns, strict=True)):
        for i, (rewards, count) in enumerate(zip(group, counts, strict=True)):
            _check_one(f"group {g}, trajectory {i}", rewards, count)


def _check_one(where: str, rewards: tuple[float, ...], turns: int) -> None:
    if turns < 0:
        raise AdvantageError(f"{where}: {turns} turns.")
    if not np.isfinite(rewards).all():
        raise AdvantageError(f"{where}: rewards must be finite numbers, not {rewards}.")
    if len(rewards) > 1 and len(rewards) != turns:
        raise AdvantageError(f"{where}: {len(rewards)} rewards for {turns} turns; send one, or one a turn.")


PER_TURN = "group_based_per_turn"
_SCALAR: dict[str, Method] = {
    "monte_carlo": monte_carlo,
    "group_based": group_based,
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
    "opo": opo,
    "grpo_passk": grpo_passk,
    "gpg": gpg,
}
METHODS: tuple[str, ...] = (*_SCALAR, PER_TURN)
"""Every method that the service documents."""

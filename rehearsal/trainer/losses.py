"""The policy-gradient losses, as multipliers on the gradient of the log-probability.

With r = pi(a) / pi_old(a) = exp(log_ratio), every loss here has the ascent direction
`sum_i c_i * grad log pi(a_i)`; a policy needs only c, one number a turn, and its own log-gradient.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Loss = Callable[[Array, Array, float, float], Array]

MAX_LOG_RATIO = 20.0
"""Beyond e^20 a ratio only says that the policy has moved away; the cap keeps the update finite."""


class LossError(ValueError):
    """The loss is unknown, or its inputs do not fit together."""


def coefficients(
    loss_fn: str, log_ratio: Array, advantage: Array, clip_low: float = 0.8, clip_high: float = 1.2
) -> Array:
    """The multiplier c on grad log pi, one a turn.

    Args:
        loss_fn: one of `LOSSES`.
        log_ratio: log pi(a) - log pi_old(a) in nats, shape (turns,).
        advantage: shape (turns,).
        clip_low: lower bound of the ratio itself (0.8, not an epsilon of 0.2).
        clip_high: upper bound of the ratio itself.

    Raises:
        LossError: unknown loss (the message lists the known ones), shapes that differ, values that are
            not finite, or bounds out of order.
    """
    if loss_fn not in LOSSES:
        raise LossError(f"unknown loss_fn {loss_fn!r}. Known: {', '.join(LOSSES)}.")
    if log_ratio.shape != advantage.shape:
        raise LossError(f"log_ratio has shape {log_ratio.shape}, advantage has {advantage.shape}.")
    if not (np.isfinite(log_ratio).all() and np.isfinite(advantage).all()):
        raise LossError("log_ratio and advantage must be finite numbers.")
    if not 0 <= clip_low <= clip_high:
        raise LossError(f"the clip bounds must be in order, not {clip_low:g} and {clip_high:g}.")
    ratio = np.exp(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return LOSSES[loss_fn](ratio, advantage, clip_low, clip_high)


def importance_sampling(ratio: Array, advantage: Array, low: float, high: float) -> Array:
    """Objective r * A, so c = r * A: the off-policy policy gradient, without a clip."""
    return ratio * advantage


def ppo(ratio: Array, advantage: Array, low: float, high: float) -> Array:
    """Objective min(r * A, clip(r, low, high) * A); c = r * A where the first is the smaller, else 0.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7. A turn stops to count once its ratio has moved past the
    bound in the direction that the advantage asks for.
    """
    spent = np.where(advantage > 0, ratio > high, ratio < low)
    return np.where(spent, 0.0, ratio * advantage)


def cispo(ratio: Array, advantage: Array, low: float, high: float) -> Array:
    """Objective stop_gradient(clip(r, low, high)) * A * log pi, so c = clip(r, low, high) * A.

    MiniMax-M1, arXiv:2506.13585: the weight is clipped, yet no turn loses its gradient.
    """
    return np.clip(ratio, low, high) * advantage


LOSSES: dict[str, Loss] = {"importance_sampling": importance_sampling, "ppo": ppo, "cispo": cispo}

"""The coefficients against numerical differentiation of the scalar objectives."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rehearsal.trainer.losses import LOSSES, LossError, coefficients

LOW, HIGH = 0.8, 1.2
Array = NDArray[np.float64]


def surrogate(loss_fn: str, log_pi: float, log_old: float, advantage: float, frozen: float) -> float:
    """The scalar objective of one turn; `frozen` is the log-probability inside a stop-gradient."""
    ratio = np.exp(log_pi - log_old)
    if loss_fn == "importance_sampling":
        return float(ratio * advantage)
    if loss_fn == "ppo":
        return float(min(ratio * advantage, np.clip(ratio, LOW, HIGH) * advantage))
    return float(np.clip(np.exp(frozen - log_old), LOW, HIGH) * advantage * log_pi)


def derivative(function: Callable[[float], float], at: float, step: float = 1e-6) -> float:
    return (function(at + step) - function(at - step)) / (2 * step)


@pytest.mark.parametrize("loss_fn", LOSSES)
@pytest.mark.parametrize("advantage", [-2.0, -0.5, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("ratio", [0.2, 0.79, 0.81, 1.0, 1.19, 1.21, 3.0])
def test_coefficient_is_the_derivative_by_log_pi(loss_fn: str, advantage: float, ratio: float) -> None:
    log_old = -1.3
    log_pi = log_old + float(np.log(ratio))
    numerical = derivative(lambda x: surrogate(loss_fn, x, log_old, advantage, log_pi), log_pi)
    [exact] = coefficients(loss_fn, np.array([log_pi - log_old]), np.array([advantage]), LOW, HIGH)
    assert exact == pytest.approx(numerical, abs=1e-6)


@pytest.mark.parametrize("loss_fn", LOSSES)
def test_ascent_direction_of_a_softmax_policy(loss_fn: str) -> None:
    """sum_i c_i * grad log pi_i is the gradient of the summed objective in the policy's parameters."""
    rng = np.random.default_rng(7)
    logits, old = rng.normal(size=4), rng.normal(size=4)
    actions, advantage = np.array([0, 3, 1, 1, 2]), rng.normal(size=5)

    def log_pi(x: Array) -> Array:
        picked: Array = (x - np.log(np.exp(x).sum()))[actions]
        return picked

    frozen = log_pi(logits)

    def objective(x: Array) -> float:
        turns = zip(log_pi(x), log_pi(old), advantage, frozen, strict=True)
        return sum(surrogate(loss_fn, *turn) for turn in turns)

    c = coefficients(loss_fn, frozen - log_pi(old), advantage, LOW, HIGH)
    softmax = np.exp(logits) / np.exp(logits).sum()
    gradient = sum(ci * (np.eye(4)[a] - softmax) for ci, a in zip(c, actions, strict=True))
    numerical = [(objective(logits + 1e-6 * e) - objective(logits - 1e-6 * e)) / 2e-6 for e in np.eye(4)]
    assert gradient == pytest.approx(numerical, abs=1e-5)


def test_ppo_stops_only_in_the_direction_of_the_advantage() -> None:
    log_ratio = np.log(np.array([1.5, 1.5, 0.5, 0.5]))
    c = coefficients("ppo", log_ratio, np.array([1.0, -1.0, 1.0, -1.0]), LOW, HIGH)
    assert c == pytest.approx([0.0, -1.5, 0.5, 0.0])


def test_cispo_never_loses_a_gradient() -> None:
    c = coefficients("cispo", np.log(np.array([9.0, 0.1])), np.array([1.0, -1.0]), LOW, HIGH)
    assert c == pytest.approx([1.2, -0.8])


def test_a_ratio_too_large_for_a_float_stays_finite() -> None:
    c = coefficients("importance_sampling", np.array([5000.0, -5000.0]), np.array([1.0, 1.0]))
    assert np.isfinite(c).all()
    assert c[0] > 1e6
    assert c[1] < 1e-6


def test_on_policy_every_loss_is_the_plain_policy_gradient() -> None:
    advantage = np.array([1.0, -0.3, 0.0])
    for loss_fn in LOSSES:
        assert coefficients(loss_fn, np.zeros(3), advantage) == pytest.approx(advantage)


@pytest.mark.parametrize(
    ("loss_fn", "log_ratio", "advantage", "bounds", "text"),
    [
        ("dpo", [0.0], [1.0], (0.8, 1.2), "'dpo'.*importance_sampling, ppo, cispo"),
        ("ppo", [0.0, 0.0], [1.0], (0.8, 1.2), "shape"),
        ("ppo", [np.nan], [1.0], (0.8, 1.2), "finite"),
        ("ppo", [0.0], [1.0], (1.2, 0.8), "order"),
    ],
)
def test_wrong_input_is_refused(
    loss_fn: str, log_ratio: list[float], advantage: list[float], bounds: tuple[float, float], text: str
) -> None:
    with pytest.raises(LossError, match=text):
        coefficients(loss_fn, np.array(log_ratio), np.array(advantage), *bounds)

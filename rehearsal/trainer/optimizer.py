"""Adam with decoupled weight decay and gradient clipping (Kingma and Ba 2015; Loshchilov and Hutter 2019)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehearsal.trainer.hyperparameters import TrainingHyperparameters

STEP_SCALE = 5000.0
"""The tiny policy has fifty parameters, not billions: its step is `learning_rate` times this, so that the
documented default of 4e-5 gives a step of 0.2 in logits."""


class Adam:
    """Gradient ascent on a flat parameter vector."""

    def __init__(self, size: int, hyperparameters: TrainingHyperparameters) -> None:
        self._hp = hyperparameters
        self._mean = np.zeros(size)
        self._square = np.zeros(size)
        self._steps = 0

    def step(self, parameters: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """The parameters after one step along `gradient` (ascent)."""
        hp = self._hp
        norm = float(np.linalg.norm(gradient))
        if hp.grad_clip_norm and norm > hp.grad_clip_norm:
            gradient = gradient * (hp.grad_clip_norm / norm)
        self._steps += 1
        self._mean = hp.adam_beta1 * self._mean + (1 - hp.adam_beta1) * gradient
        self._square = hp.adam_beta2 * self._square + (1 - hp.adam_beta2) * gradient**2
        mean = self._mean / (1 - hp.adam_beta1**self._steps)
        square = self._square / (1 - hp.adam_beta2**self._steps)
        rate = hp.learning_rate * STEP_SCALE
        moved: NDArray[np.float64] = parameters + rate * mean / (np.sqrt(square) + hp.eps)
        return moved - rate * hp.weight_decay * parameters

    def state(self) -> dict[str, Any]:
        """JSON that `restore` takes."""
        return {"mean": self._mean.tolist(), "square": self._square.tolist(), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._mean = np.array(state["mean"])
        self._square = np.array(state["square"])
        self._steps = int(state["steps"])

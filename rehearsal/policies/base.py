"""What the stand-in needs of a policy model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class PolicyError(ValueError):
    """The policy cannot be had or cannot answer; the message says what to do.

    `status` is the HTTP status with which a model server refused, 500 where there is none.
    """

    def __init__(self, message: str, *, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled turn."""

    message: Mapping[str, Any]
    """The assistant message, OpenAI form."""
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    logprob: float = 0.0
    """Natural log of the probability of the turn under the sampling policy; 0 where it is not known."""
    trace: Any = None
    """What a trainable policy needs to compute this turn's gradient later."""


class ServedPolicy(Protocol):
    """A policy that answers chat requests."""

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        """Sample one turn from an OpenAI chat-completions request; `seed` decides every draw in it.

        Raises:
            PolicyError: the request cannot be answered.
        """

    async def close(self) -> None: ...


@runtime_checkable
class TrainablePolicy(Protocol):
    """A policy whose parameters the trainer can change."""

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled: ...

    async def close(self) -> None: ...

    @property
    def parameters(self) -> NDArray[np.float64]:
        """The flat parameter vector (a copy)."""

    def load(self, parameters: NDArray[np.float64]) -> None: ...

    def log_probs(self, traces: Sequence[Any]) -> NDArray[np.float64]:
        """Log-probability of each traced turn under the current parameters."""

    def gradient(self, traces: Sequence[Any], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over turns of `coefficient x grad log pi(turn)`, shape of `parameters`."""

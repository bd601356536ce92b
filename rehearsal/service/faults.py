"""Faults on demand: at a rate by operation, or on one request by header.

429    refused before anything happened, with Retry-After
5xx    an InternalServiceError before anything happened
reset  the connection is cut before anything happened
lost   the request takes effect, then the connection is cut before the answer
slow   the answer is held back by `slow_seconds`
expire the credentials are declared expired (403)
"""

import random
from dataclasses import dataclass, field

KINDS = ("429", "5xx", "reset", "lost", "slow", "expire")
OPERATIONS = ("sample", "complete", "reward")
FAULT_HEADER = "X-Mtrl-Fault"
UNCERTAIN_KINDS = frozenset({"5xx", "reset", "lost"})
"""After these a caller cannot know whether its Sample took effect."""


class FaultError(ValueError):
    """A fault specification that cannot be read; says what is accepted."""


@dataclass(slots=True)
class Faults:
    """Draws faults from a seeded generator, so that a run can be repeated."""

    rates: dict[tuple[str, str], float] = field(default_factory=dict)
    """By (operation, kind): the share of requests, 0 to 1."""
    seed: int = 0
    slow_seconds: float = 1.0
    retry_after: float = 0.0
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - decides faults, not secrets

    def draw(self, operation: str, header: str | None) -> str | None:
        """The fault for one request, or None.

        Raises:
            FaultError: the header names no fault.
        """
        if header is not None:
            if header not in KINDS:
                raise FaultError(f"Unknown fault {header!r}. Faults: {', '.join(KINDS)}.")
            return header
        if not self.rates:
            return None
        point, passed = self._rng.random(), 0.0
        for kind in KINDS:
            passed += self.rates.get((operation, kind), 0.0)
            if point < passed:
                return kind
        return None

    def add(self, text: str) -> None:
        """Add a rate from `KIND=RATE` (all operations) or `OPERATION:KIND=RATE`.

        Raises:
            FaultError: names what is wrong in `text`.
        """
        name, _, rate_text = text.partition("=")
        operation, _, kind = name.rpartition(":")
        if kind not in KINDS:
            raise FaultError(f"Unknown fault {kind!r} in {text!r}. Faults: {', '.join(KINDS)}.")
        if operation and operation not in OPERATIONS:
            raise FaultError(f"Unknown operation {operation!r}. Operations: {', '.join(OPERATIONS)}.")
        try:
            rate = float(rate_text)
        except ValueError:
            rate = -1.0
        if not 0 <= rate <= 1:
            raise FaultError(f"The rate in {text!r} must be a number from 0 to 1, as in {kind}=0.05.")
        for each in [operation] if operation else OPERATIONS:
            self.rates[each, kind] = rate
            if sum(self.rates.get((each, other), 0.0) for other in KINDS) > 1 + 1e-9:
                raise FaultError(f"With {text!r} the rates of {each} add up to more than 1. Lower one.")

"""The ledger's table in simulation: it looks at each write, and says which may not have been."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.runtime.dynamo_kit import Item, Request, Table

SAMPLE_TIMEOUT = 20.0
WALL = 1e9
"""What the machines' clocks show when the simulation begins."""


class TimedTable(Table):
    """Knows when it was written to; what each write may not do."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock = clock
        self.broken: list[str] = []

    def update(self, request: Request) -> Any:
        before = self.item
        answer = super().update(request)
        self.broken += broken(before, self.item, WALL + self.clock()) if before else []
        return answer


def broken(before: Item, after: Item, now: float) -> Iterator[str]:
    """What is wrong with one write to an item, at a wall-clock time."""

    def number(item: Item, name: str) -> float:
        return float(item.get(name, {"N": 0})["N"])

    if "outcome" in before and after["outcome"] != before["outcome"]:
        yield "an outcome was replaced"
    if "acknowledged" in before and after["epoch"] != before["epoch"]:
        yield "claimed after it was acknowledged"
    if after["epoch"] != before["epoch"]:
        if "owner" in before and now < number(before, "lease_ends") + SAMPLE_TIMEOUT:
            yield "taken over while a request may have been under way"
        return
    if not number(before, "lease_ends"):
        yield "a write landed after its claim was given up"
    if before.get("token") != after.get("token"):
        yield "a claim without an epoch of its own"
    if number(after, "lease_ends"):  # not a write that gives the claim up
        falling = [name for name in ("lease_ends", "sampled") if number(after, name) < number(before, name)]
        yield from (f"{name} fell" for name in falling)
        if "handed_back" in after and number(after, "sampled") != number(before, "sampled"):
            yield "a hand-back stands after a Sample"

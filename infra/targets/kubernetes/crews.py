"""Which workers there are: a crew is a Deployment, on demand or on Spot, of a fixed or a scaled size.

One Deployment on both kinds of capacity cannot promise that its first worker stays off Spot: when it shrinks,
Kubernetes chooses which Pod goes. So the first crew is on demand always, and Spot has a crew of its own.
"""

import math
from dataclasses import dataclass
from typing import Literal

from infra.target_settings import Workers
from infra.targets.kubernetes.objects import ADAPTER

Capacity = Literal["on-demand", "spot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Workers of one Deployment."""

    name: str
    capacity: Capacity
    most: int
    fixed: bool
    """Whether all `most` are kept; otherwise KEDA keeps none while there is nothing to do."""
    messages: int
    """Rollouts waiting or in flight in the whole queue, for each worker of a scaled crew."""


def crews(workers: Workers, per_worker: int) -> list[Crew]:
    """`workers.min` on demand for good (or, if that is 0, what of `max` is not on Spot), the rest scaled."""
    first = workers.min or 1
    spot = min(workers.max - first, math.floor((workers.max - 1) * workers.spot_share + 0.5))
    sizes: list[tuple[str, Capacity, int, bool]] = (
        [
            (ADAPTER, "on-demand", workers.min, True),
            (f"{ADAPTER}-more", "on-demand", workers.max - workers.min - spot, False),
        ]
        if workers.min
        else [(ADAPTER, "on-demand", workers.max - spot, False)]
    )
    sizes.append((f"{ADAPTER}-spot", "spot", spot, False))
    return [
        Crew(
            name=name,
            capacity=capacity,
            most=most,
            fixed=fixed,
            # Each crew takes its part of the queue: all are complete when max x per_worker are there.
            messages=math.ceil(per_worker * workers.max / most),
        )
        for name, capacity, most, fixed in sizes
        if most > 0
    ]

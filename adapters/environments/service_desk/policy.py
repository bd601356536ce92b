"""The refund policy, as a rule over one order. The desk applies it; the tasks' targets are made with it."""

from dataclasses import dataclass
from typing import Literal

from adapters.environments.service_desk.world import Order

WINDOW_DAYS = 30
FULL_DAYS = 14
"""After these days, a tenth of the price is kept."""
DESK_LIMIT_CENTS = 15_000
"""More than this the desk may not pay out by itself."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is due for an order, and who settles it."""

    resolution: Literal["refunded", "escalated", "denied"]
    refund_cents: int


def judge(order: Order) -> Verdict:
    """Sections 5 and 6 of the procedure."""
    if order.final_sale or order.days_since_delivery > WINDOW_DAYS:
        return Verdict("denied", 0)
    kept = order.paid_cents // 10 if order.days_since_delivery > FULL_DAYS else 0
    due = order.paid_cents - kept
    return Verdict("escalated" if due > DESK_LIMIT_CENTS else "refunded", due)

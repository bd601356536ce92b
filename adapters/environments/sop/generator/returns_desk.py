"""Cases of the returns desk of a retailer. The rules are those of `domains/returns_desk/sop.txt`."""

import random
from dataclasses import dataclass

from adapters.environments.sop.generator.common import Row, dice, identifiers, money, pick

SEED = 20250301
COUNT = 300
GRACE_DAYS = 7
INSPECTION_ABOVE_CENTS = 20_000
RESTOCKING_PERCENT = {"not_inspected": 0, "sealed": 0, "defective": 0, "opened": 15, "worn": 35}


@dataclass(frozen=True, slots=True)
class Policy:
    code: str
    window_days: int
    items: tuple[tuple[str, int, int], ...]
    """Description, lowest and highest price in cents."""


POLICIES = (
    Policy("ELX-30", 30, (("wireless headphones", 4900, 24900), ("tablet stand", 1900, 6900))),
    Policy("ELX-30", 30, (("bluetooth speaker", 2900, 17900), ("mechanical keyboard", 5900, 18900))),
    Policy("APP-60", 60, (("rain jacket", 4500, 18900), ("running shoes", 5900, 16900))),
    Policy("HOM-45", 45, (("pressure cooker", 6900, 26900), ("desk lamp", 2500, 9900))),
    Policy("HYG-14", 14, (("electric toothbrush", 3900, 15900), ("hair trimmer", 2900, 8900))),
    Policy("OUT-00", 0, (("outlet backpack", 1900, 7900), ("outlet coffee grinder", 2900, 9900))),
)
REASONS = ("wrong size or fit", "changed my mind", "not as described", "arrived late", "stopped working")
CONDITIONS = {"sealed": 50, "opened": 24, "worn": 12, "defective": 14}
VERIFIED = {"sealed": 14, "opened": 36, "worn": 24, "defective": 26}


def rows() -> list[Row]:
    """The rows of the CSV: inputs, what only the tools know, and the right outputs."""
    chance = dice(SEED)
    columns = {
        "return_id": identifiers(chance, "RT-", 6, COUNT),
        "order_id": identifiers(chance, "SO-", 8, COUNT),
        "item_sku": identifiers(chance, "SKU", 7, COUNT),
        "inspection_id": identifiers(chance, "IN-", 6, COUNT),
        "assessment_id": identifiers(chance, "AS-", 7, COUNT),
    }
    return [_row(chance, {name: values[at] for name, values in columns.items()}) for at in range(COUNT)]


def _row(chance: random.Random, ids: Row) -> Row:
    policy = chance.choice(POLICIES)
    item, low, high = chance.choice(policy.items)
    paid = chance.randrange(low, high)
    reported = pick(chance, CONDITIONS)
    due = policy.code != "OUT-00" and (reported != "sealed" or paid > INSPECTION_ABOVE_CENTS)
    verified = pick(chance, VERIFIED) if due else "not_inspected"
    days = _days(chance, policy)
    eligibility = _eligibility(policy, days, verified)
    return {
        "return_id": ids["return_id"],
        "item_description": item,
        "return_reason": chance.choice(REASONS),
        "reported_condition": reported,
        "claimed_amount": money(paid + chance.choice((0, 0, 495, 695, 1295))),
        "requested_refund_method": chance.choice(("original_payment", "bank_transfer", "store_credit")),
        "order_id": ids["order_id"],
        "item_sku": ids["item_sku"],
        "archived": pick(chance, {"no": 7, "yes": 3}),
        "days_since_delivery": str(days),
        "paid_amount": money(paid),
        "payment_status": (payment := pick(chance, {"card_valid": 5, "card_expired": 3, "gift_order": 3})),
        "return_window_days": str(policy.window_days),
        "preliminary_eligibility": chance.choice(("approved", "approved", "manual_review", "denied")),
        "inspection_due": "yes" if due else "no",
        "inspection_id": ids["inspection_id"],
        "assessment_id": ids["assessment_id"],
        "eligibility": eligibility,
        "policy_code": policy.code,
        "verified_condition": verified,
        "refund_amount": _amount(eligibility, verified, paid),
        "refund_method": _method(eligibility, payment),
    }


def _days(chance: random.Random, policy: Policy) -> int:
    where = pick(chance, {"inside": 76, "grace": 10, "late": 14})
    if where == "inside":
        return chance.randrange(1, max(policy.window_days, 20))
    if where == "grace":
        return policy.window_days + chance.randrange(1, GRACE_DAYS + 1)
    return policy.window_days + GRACE_DAYS + chance.randrange(1, 40)


def _eligibility(policy: Policy, days: int, verified: str) -> str:
    if policy.code == "OUT-00" or days > policy.window_days + GRACE_DAYS:
        return "denied"
    if policy.code == "HYG-14" and verified in ("opened", "worn"):
        return "denied"
    if days > policy.window_days or verified == "worn":
        return "manual_review"
    return "approved"


def _amount(eligibility: str, verified: str, paid: int) -> str:
    if eligibility == "denied":
        return money(0)
    return money(paid - paid * RESTOCKING_PERCENT[verified] // 100)


def _method(eligibility: str, payment: str) -> str:
    if eligibility != "approved":
        return "none"
    return {"card_valid": "original_payment", "card_expired": "bank_transfer", "gift_order": "store_credit"}[
        payment
    ]

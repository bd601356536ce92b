"""The rules that a procedure states for reference, worked out again from what the tools show."""

import datetime
from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal

from tests.environments.play import domain

CENT = Decimal("0.01")


def _percent(amount: Decimal, percent: int) -> Decimal:
    return (amount * percent / 100).quantize(CENT, ROUND_DOWN)


def test_returns_are_decided_by_section_8() -> None:
    for row in domain("returns_desk").rows:
        assert row["eligibility"] == _eligibility(row), row
        paid = Decimal(row["paid_amount"])
        deduction = _percent(paid, {"opened": 15, "worn": 35}.get(row["verified_condition"], 0))
        denied = row["eligibility"] == "denied"
        assert Decimal(row["refund_amount"]) == (0 if denied else paid - deduction), row
        methods = {
            "card_valid": "original_payment",
            "card_expired": "bank_transfer",
            "gift_order": "store_credit",
        }
        approved = row["eligibility"] == "approved"
        assert row["refund_method"] == (methods[row["payment_status"]] if approved else "none"), row


def _eligibility(row: Mapping[str, str]) -> str:
    overdue = int(row["days_since_delivery"]) - int(row["return_window_days"])
    unsellable = row["policy_code"] == "HYG-14" and row["verified_condition"] in ("opened", "worn")
    if row["policy_code"] == "OUT-00" or overdue > 7 or unsellable:
        return "denied"
    return "manual_review" if overdue > 0 or row["verified_condition"] == "worn" else "approved"


def test_an_inspection_is_due_by_section_6() -> None:
    for row in domain("returns_desk").rows:
        suspect = row["reported_condition"] != "sealed" or Decimal(row["paid_amount"]) > 200
        due = row["policy_code"] != "OUT-00" and suspect
        assert row["inspection_due"] == ("yes" if due else "no"), row
        assert (row["verified_condition"] == "not_inspected") is not due, row


def test_hardship_relief_follows_section_8() -> None:
    for row in domain("loan_hardship").rows:
        contractual, surplus = Decimal(row["contractual_payment"]), Decimal(row["verified_surplus"])
        months = int(row["months_in_arrears"])
        opened = datetime.date.fromisoformat(row["opened_on"])
        plan = (row["relief_type"], row["monthly_payment"], row["plan_months"], row["review_date"])
        assert plan == _plan(contractual, surplus, months, opened), row


def _plan(
    contractual: Decimal, surplus: Decimal, months: int, opened: datetime.date
) -> tuple[str, str, str, str]:
    if months > 12 or surplus >= contractual:
        return ("declined", *("not_applicable",) * 3)
    if surplus <= contractual / 10:
        relief, payment, term, days = "payment_holiday", _percent(contractual, 5), 3, 75
    elif surplus < contractual / 2:
        relief, payment, term, days = "reduced_payment", _percent(surplus, 80), 6, 165
    else:
        relief, payment, days = "term_extension", _percent(surplus, 90), 180
        term = 24 if months > 3 else 12
    return relief, str(payment), str(term), (opened + datetime.timedelta(days=days)).isoformat()

"""Hardship cases of a consumer lender. The rules are those of `domains/loan_hardship/sop.txt`."""

import datetime
import random
from dataclasses import dataclass

from adapters.environments.sop.generator.common import Row, dice, identifiers, money, pick

SEED = 20250302
COUNT = 300
NOT_APPLICABLE = "not_applicable"
LATEST_ARREARS_MONTHS = 12
FIRST_DAY = datetime.date(2025, 4, 1)
HARDSHIPS = {
    "job loss": "debt_advice",
    "reduced hours": "debt_advice",
    "illness": "health_support",
    "caring for a relative": "health_support",
    "bereavement": "bereavement",
    "separation": "safeguarding",
}
"""What is stated at first contact, and the team that triage would guess from it."""
TEAMS = {"debt_advice": 3, "health_support": 3, "bereavement": 2, "safeguarding": 2}
RELIEFS = {"payment_holiday": 3, "reduced_payment": 4, "term_extension": 4, "declined": 3}
REVIEW_AFTER_DAYS = {"payment_holiday": 75, "reduced_payment": 165, "term_extension": 180}


@dataclass(frozen=True, slots=True)
class Finances:
    """Monthly amounts in cents."""

    payment: int
    surplus: int
    months_in_arrears: int


def rows() -> list[Row]:
    """The rows of the CSV: inputs, what only the tools know, and the right outputs."""
    chance = dice(SEED)
    kinds = {
        "case_ref": ("HC-", 6),
        "customer_id": ("CU-", 7),
        "loan_id": ("LN-", 8),
        "identity_token": ("IDT-", 9),
        "income_assessment_id": ("IA-", 7),
        "clearance_id": ("CL-", 7),
        "referral_id": ("RF-", 6),
        "screening_id": ("SC-", 7),
        "plan_id": ("PL-", 7),
    }
    columns = {name: identifiers(chance, *kind, COUNT) for name, kind in kinds.items()}
    return [_row(chance, {name: values[at] for name, values in columns.items()}) for at in range(COUNT)]


def _row(chance: random.Random, ids: Row) -> Row:
    finances = _finances(chance, pick(chance, RELIEFS))
    relief = relief_type(finances)
    arrears = finances.payment * finances.months_in_arrears + chance.randrange(0, 4000)
    hardship = chance.choice(list(HARDSHIPS))
    referred = pick(chance, {"no": 6, "yes": 4})
    opened = FIRST_DAY + datetime.timedelta(days=chance.randrange(0, 120))
    return {
        "case_ref": ids["case_ref"],
        "opened_on": opened.isoformat(),
        "stated_hardship": hardship,
        "requested_relief": chance.choice(("payment_holiday", "reduced_payment", "term_extension")),
        "requested_months": chance.choice(("3", "6", "12", "24")),
        "offered_payment": money(finances.payment * chance.randrange(1, 10) // 10),
        "reported_arrears": money(max(0, arrears + chance.choice((-5000, -2500, 0, 2500, 7500)))),
        **{name: ids[name] for name in ("customer_id", "loan_id", "identity_token")},
        "second_factor": pick(chance, {"no": 7, "yes": 3}),
        "contractual_payment": money(finances.payment),
        "months_in_arrears": str(finances.months_in_arrears),
        "provisional_relief_type": chance.choice(list(RELIEFS)),
        "triage_team": HARDSHIPS[hardship],
        "verified_surplus": money(finances.surplus),
        "referral_due": referred,
        **{name: ids[name] for name in ("income_assessment_id", "clearance_id", "referral_id")},
        **{name: ids[name] for name in ("screening_id", "plan_id")},
        "arrears_amount": money(arrears),
        "specialist_team": pick(chance, TEAMS) if referred == "yes" else "not_referred",
        "relief_type": relief,
        **_plan(finances, relief, opened),
    }


def _finances(chance: random.Random, wanted: str) -> Finances:
    """Amounts that lead to the relief `wanted`, so that the reliefs come in the shares asked for."""
    payment = chance.randrange(12_000, 68_000)
    months = chance.randrange(1, 7)
    low, high = {
        "payment_holiday": (-20, 9),
        "reduced_payment": (12, 48),
        "term_extension": (52, 97),
        "declined": (103, 140),
    }[wanted]
    if wanted == "declined" and chance.randrange(2):
        low, high, months = 12, 97, LATEST_ARREARS_MONTHS + chance.randrange(1, 6)
    return Finances(payment, payment * chance.randrange(low, high) // 100, months)


def relief_type(finances: Finances) -> str:
    """Section 8 of the procedure."""
    if finances.months_in_arrears > LATEST_ARREARS_MONTHS or finances.surplus >= finances.payment:
        return "declined"
    if finances.surplus * 10 <= finances.payment:
        return "payment_holiday"
    return "reduced_payment" if finances.surplus * 2 < finances.payment else "term_extension"


def _plan(finances: Finances, relief: str, opened: datetime.date) -> Row:
    if relief == "declined":
        return dict.fromkeys(("monthly_payment", "plan_months", "review_date"), NOT_APPLICABLE)
    due = opened + datetime.timedelta(days=REVIEW_AFTER_DAYS[relief])
    if relief == "payment_holiday":
        payment, months = finances.payment // 20, 3
    elif relief == "reduced_payment":
        payment, months = finances.surplus * 8 // 10, 6
    else:
        payment, months = finances.surplus * 9 // 10, 12 if finances.months_in_arrears <= 3 else 24
    return {"monthly_payment": money(payment), "plan_months": str(months), "review_date": due.isoformat()}

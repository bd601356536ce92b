"""The tools of the hardship desk: look-ups in the case file beside this module. They only read."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCKING = False
"""Every call is a dictionary look-up."""


class LoanHardshipManager:
    """`process_tool_call(name, input)` answers a dictionary, or raises ValueError with what to do."""

    def __init__(self) -> None:
        path = Path(__file__).with_name("test_set_with_outputs.csv")
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        keys = ("case_ref", "customer_id", "loan_id", "screening_id", "plan_id")
        self._by = {key: {row[key]: row for row in rows} for key in keys}
        self._tools: dict[str, Callable[..., dict[str, Any]]] = {
            "open_case": self.open_case,
            "verify_identity": self.verify_identity,
            "verify_second_factor": self.verify_second_factor,
            "fetch_loan": self.fetch_loan,
            "assess_income": self.assess_income,
            "refer_specialist": self.refer_specialist,
            "screen_relief": self.screen_relief,
            "price_plan": self.price_plan,
            "schedule_review": self.schedule_review,
        }

    def process_tool_call(self, tool_name: str, tool_input: dict[str, Any]) -> dict[str, Any]:
        if tool_name not in self._tools:
            raise ValueError(f"There is no tool {tool_name}.")
        try:
            return self._tools[tool_name](**tool_input)
        except TypeError as error:
            raise ValueError(f"Wrong arguments for {tool_name}: {error}") from None

    def open_case(self, case_ref: str) -> dict[str, Any]:
        row = self._find("case_ref", case_ref)
        return {
            "case_ref": row["case_ref"],
            "customer_id": row["customer_id"],
            "loan_id": row["loan_id"],
            "provisional_relief_type": row["provisional_relief_type"],
            "next_step": "verify_identity",
        }

    def verify_identity(self, customer_id: str) -> dict[str, Any]:
        row = self._find("customer_id", customer_id)
        if row["second_factor"] == "yes":
            raise ValueError(
                f"Customer {customer_id} needs a second factor. "
                "Call verify_second_factor with this customer_id."
            )
        return _identified(row)

    def verify_second_factor(self, customer_id: str) -> dict[str, Any]:
        row = self._find("customer_id", customer_id)
        if row["second_factor"] != "yes":
            raise ValueError(f"Customer {customer_id} needs no second factor. Call verify_identity.")
        return _identified(row)

    def fetch_loan(self, loan_id: str, identity_token: str) -> dict[str, Any]:
        row = self._find("loan_id", loan_id)
        _check_token(row, identity_token)
        return {
            "loan_id": row["loan_id"],
            "arrears_amount": row["arrears_amount"],
            "months_in_arrears": int(row["months_in_arrears"]),
            "contractual_payment": row["contractual_payment"],
            "next_step": "assess_income",
        }

    def assess_income(self, customer_id: str, identity_token: str) -> dict[str, Any]:
        row = self._find("customer_id", customer_id)
        _check_token(row, identity_token)
        result = {
            "income_assessment_id": row["income_assessment_id"],
            "verified_surplus": row["verified_surplus"],
            "triage_team": row["triage_team"],
            "referral_due": row["referral_due"],
        }
        if row["referral_due"] == "yes":
            return {**result, "next_step": "refer_specialist"}
        return {**result, "clearance_id": row["clearance_id"], "next_step": "screen_relief"}

    def refer_specialist(self, customer_id: str, assessment_id: str) -> dict[str, Any]:
        row = self._find("customer_id", customer_id)
        if row["income_assessment_id"] != assessment_id:
            raise ValueError(
                f"Assessment {assessment_id} is not the one of {customer_id}. "
                "Take the income_assessment_id from assess_income."
            )
        if row["referral_due"] != "yes":
            raise ValueError(f"No referral is due for {customer_id}. Call screen_relief.")
        return {
            "referral_id": row["referral_id"],
            "specialist_team": row["specialist_team"],
            "clearance_id": row["clearance_id"],
            "next_step": "screen_relief",
        }

    def screen_relief(self, loan_id: str, clearance_id: str) -> dict[str, Any]:
        row = self._find("loan_id", loan_id)
        if row["clearance_id"] != clearance_id:
            raise ValueError(
                f"Clearance {clearance_id} is not the one of {loan_id}. "
                "Take the clearance_id from assess_income, or from refer_specialist if a referral was due."
            )
        result = {"screening_id": row["screening_id"], "relief_type": row["relief_type"]}
        declined = row["relief_type"] == "declined"
        return {**result, "next_step": "give_final_output" if declined else "price_plan"}

    def price_plan(self, screening_id: str) -> dict[str, Any]:
        row = self._find("screening_id", screening_id)
        if row["relief_type"] == "declined":
            raise ValueError(f"Screening {screening_id} ended in declined: there is no plan to price.")
        return {
            "plan_id": row["plan_id"],
            "monthly_payment": row["monthly_payment"],
            "plan_months": int(row["plan_months"]),
            "next_step": "schedule_review",
        }

    def schedule_review(self, plan_id: str) -> dict[str, Any]:
        row = self._find("plan_id", plan_id)
        if row["relief_type"] == "declined":
            raise ValueError(f"There is no plan_id {plan_id}.")
        return {
            "plan_id": row["plan_id"],
            "review_date": row["review_date"],
            "next_step": "give_final_output",
        }

    def _find(self, name: str, key: str) -> dict[str, str]:
        index = self._by[name]
        if not isinstance(key, str) or key not in index:
            raise ValueError(f"There is no {name} {key}.")
        return index[key]


def _identified(row: dict[str, str]) -> dict[str, Any]:
    return {
        "customer_id": row["customer_id"],
        "identity_status": "verified",
        "identity_token": row["identity_token"],
        "next_step": "fetch_loan",
    }


def _check_token(row: dict[str, str], token: str) -> None:
    if row["identity_token"] != token:
        raise ValueError(
            f"Token {token} does not open this record. Take the identity_token of this customer."
        )

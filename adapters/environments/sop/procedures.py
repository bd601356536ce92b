"""The procedures of the shipped domains as moves: from the case and the tools alone to the final output.

Each keeps to its `sop.txt`; the judgements of `lab_intake` are made here from what the tools measured.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from adapters.contract import Steps, use

Case: TypeAlias = Mapping[str, str]
Procedure: TypeAlias = Callable[[Case], Steps[dict[str, Any]]]
IRREPLACEABLE = ("cerebrospinal fluid", "amniotic fluid")


def returns_desk(case: Case) -> Steps[dict[str, Any]]:
    note = yield from use("fetch_return", return_id=case["return_id"])
    order = yield from use("fetch_order", order_id=note["order_id"])
    if "Call fetch_archived_order" in order.get("error", ""):
        order = yield from use("fetch_archived_order", order_id=note["order_id"])
    policy = yield from use("check_return_policy", order_id=note["order_id"], sku=order["item_sku"])
    assessment, condition = policy.get("assessment_id"), "not_inspected"
    if policy["inspection_due"] == "yes":
        opened = yield from use(
            "open_inspection", return_id=case["return_id"], policy_code=policy["policy_code"]
        )
        result = yield from use("fetch_inspection", inspection_id=opened["inspection_id"])
        assessment, condition = result["assessment_id"], result["verified_condition"]
    quote = yield from use("quote_refund", return_id=case["return_id"], assessment_id=str(assessment))
    return {
        "eligibility": quote["eligibility"],
        "policy_code": policy["policy_code"],
        "verified_condition": condition,
        "refund_amount": quote["refund_amount"],
        "refund_method": quote["refund_method"],
    }


def loan_hardship(case: Case) -> Steps[dict[str, Any]]:
    opened = yield from use("open_case", case_ref=case["case_ref"])
    customer = opened["customer_id"]
    identity = yield from use("verify_identity", customer_id=customer)
    if "Call verify_second_factor" in identity.get("error", ""):
        identity = yield from use("verify_second_factor", customer_id=customer)
    token = identity["identity_token"]
    loan = yield from use("fetch_loan", loan_id=opened["loan_id"], identity_token=token)
    income = yield from use("assess_income", customer_id=customer, identity_token=token)
    clearance, team = income.get("clearance_id"), "not_referred"
    if income["referral_due"] == "yes":
        assessment = income["income_assessment_id"]
        referral = yield from use("refer_specialist", customer_id=customer, assessment_id=assessment)
        clearance, team = referral["clearance_id"], referral["specialist_team"]
    relief = yield from use("screen_relief", loan_id=opened["loan_id"], clearance_id=str(clearance))
    output = {
        "arrears_amount": loan["arrears_amount"],
        "specialist_team": team,
        "relief_type": relief["relief_type"],
        **dict.fromkeys(("monthly_payment", "plan_months", "review_date"), "not_applicable"),
    }
    if relief["relief_type"] != "declined":
        plan = yield from use("price_plan", screening_id=relief["screening_id"])
        review = yield from use("schedule_review", plan_id=plan["plan_id"])
        output |= {
            "monthly_payment": plan["monthly_payment"],
            "plan_months": plan["plan_months"],
            "review_date": review["review_date"],
        }
    return output


def lab_intake(case: Case) -> Steps[dict[str, Any]]:
    number = case["accession_number"]
    accession = yield from use("lookup_accession", accession_number=number)
    if "Call fetch_superseding_accession" in accession.get("error", ""):
        accession = yield from use("fetch_superseding_accession", accession_number=number)
    found = yield from use("measure_specimen", specimen_id=accession["specimen_id"])
    limits = yield from use("fetch_test_requirements", test_code=accession["test_code"])
    late = found["transit_hours"] - limits["max_transit_hours"]
    deviations = [
        found["hemolysis_index"] > limits["max_hemolysis_index"],
        found["fill_percent"] < limits["min_fill_percent"],
        late > 0,
    ]
    if not any(deviations):
        return {"disposition": "accept", "route_to": limits["bench_code"]}
    stable = deviations == [False, False, True] and late <= limits["stability_margin_hours"]
    if stable or accession["specimen_type"] in IRREPLACEABLE:
        return {"disposition": "accept_with_comment", "route_to": limits["bench_code"]}
    site = yield from use("find_recollection_site", specimen_id=accession["specimen_id"])
    return {"disposition": "reject", "route_to": site["site_code"]}


PROCEDURES: Mapping[str, Procedure] = {
    "returns_desk": returns_desk,
    "loan_hardship": loan_hardship,
    "lab_intake": lab_intake,
}

"""For each shipped domain, its procedure by hand: from the case and the tools alone to the final output."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from adapters.contract import Episode, Task
from adapters.environments.sop import final_output
from tests.environments.play import Desk

Case = Mapping[str, str]
Oracle = Callable[[Case, Desk], Awaitable[dict[str, Any]]]


async def returns_desk(case: Case, desk: Desk) -> dict[str, Any]:
    note = await desk.ask("fetch_return", return_id=case["return_id"])
    order = await desk.ask("fetch_order", order_id=note["order_id"])
    if not order:
        assert "Call fetch_archived_order" in desk.errors[-1]
        order = await desk.ask("fetch_archived_order", order_id=note["order_id"])
    policy = await desk.ask("check_return_policy", order_id=note["order_id"], sku=order["item_sku"])
    assessment, condition = policy.get("assessment_id"), "not_inspected"
    if policy["inspection_due"] == "yes":
        opened = await desk.ask(
            "open_inspection", return_id=case["return_id"], policy_code=policy["policy_code"]
        )
        result = await desk.ask("fetch_inspection", inspection_id=opened["inspection_id"])
        assessment, condition = result["assessment_id"], result["verified_condition"]
    quote = await desk.ask("quote_refund", return_id=case["return_id"], assessment_id=str(assessment))
    return {
        "eligibility": quote["eligibility"],
        "policy_code": policy["policy_code"],
        "verified_condition": condition,
        "refund_amount": quote["refund_amount"],
        "refund_method": quote["refund_method"],
    }


async def loan_hardship(case: Case, desk: Desk) -> dict[str, Any]:
    opened = await desk.ask("open_case", case_ref=case["case_ref"])
    customer = opened["customer_id"]
    identity = await desk.ask("verify_identity", customer_id=customer)
    if not identity:
        assert "Call verify_second_factor" in desk.errors[-1]
        identity = await desk.ask("verify_second_factor", customer_id=customer)
    token = identity["identity_token"]
    loan = await desk.ask("fetch_loan", loan_id=opened["loan_id"], identity_token=token)
    income = await desk.ask("assess_income", customer_id=customer, identity_token=token)
    clearance, team = income.get("clearance_id"), "not_referred"
    if income["referral_due"] == "yes":
        referral = await desk.ask(
            "refer_specialist", customer_id=customer, assessment_id=income["income_assessment_id"]
        )
        clearance, team = referral["clearance_id"], referral["specialist_team"]
    relief = await desk.ask("screen_relief", loan_id=opened["loan_id"], clearance_id=str(clearance))
    output = {
        "arrears_amount": loan["arrears_amount"],
        "specialist_team": team,
        "relief_type": relief["relief_type"],
        **dict.fromkeys(("monthly_payment", "plan_months", "review_date"), "not_applicable"),
    }
    if relief["relief_type"] != "declined":
        plan = await desk.ask("price_plan", screening_id=relief["screening_id"])
        review = await desk.ask("schedule_review", plan_id=plan["plan_id"])
        output |= {
            "monthly_payment": plan["monthly_payment"],
            "plan_months": plan["plan_months"],
            "review_date": review["review_date"],
        }
    return output


async def lab_intake(case: Case, desk: Desk) -> dict[str, Any]:
    accession = await desk.ask("lookup_accession", accession_number=case["accession_number"])
    if not accession:
        assert "Call fetch_superseding_accession" in desk.errors[-1]
        accession = await desk.ask("fetch_superseding_accession", accession_number=case["accession_number"])
    found = await desk.ask("measure_specimen", specimen_id=accession["specimen_id"])
    limits = await desk.ask("fetch_test_requirements", test_code=accession["test_code"])
    late = found["transit_hours"] - limits["max_transit_hours"]
    deviations = [
        found["hemolysis_index"] > limits["max_hemolysis_index"],
        found["fill_percent"] < limits["min_fill_percent"],
        late > 0,
    ]
    if not any(deviations):
        return {"disposition": "accept", "route_to": limits["bench_code"]}
    irreplaceable = accession["specimen_type"] in ("cerebrospinal fluid", "amniotic fluid")
    only_late = deviations == [False, False, True]
    if irreplaceable or (only_late and late <= limits["stability_margin_hours"]):
        return {"disposition": "accept_with_comment", "route_to": limits["bench_code"]}
    site = await desk.ask("find_recollection_site", specimen_id=accession["specimen_id"])
    return {"disposition": "reject", "route_to": site["site_code"]}


ORACLES: dict[str, Oracle] = {
    "returns_desk": returns_desk,
    "loan_hardship": loan_hardship,
    "lab_intake": lab_intake,
}
BRANCH_TOOLS = {
    "returns_desk": "open_inspection",
    "loan_hardship": "refer_specialist",
    "lab_intake": "find_recollection_site",
}
"""The tool that is called only on the domain's branch."""


async def by_names_alone(task: Task, episode: Episode, desk: Desk) -> dict[str, str]:
    """What a policy can do that sees only names: it follows `next_step` and the tool that a refusal names,
    fills an argument or a field with the last value seen under the same or the most similar key, and takes
    the template's first fixed value for a field whose name it never saw.
    """
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in episode.tools}
    seen: dict[str, str] = {}
    step = episode.tools[0]["function"]["name"]
    while step in schemas:
        known = {**task.input["case"], **seen}
        given = {name: known[_nearest(name, known)] for name in schemas[step]["required"]}
        result = await desk.ask(step, **given)
        seen |= {key: str(value) for key, value in result.items()}
        step = result["next_step"] if result else re.findall(r"Call (\w+)", desk.errors[-1])[0]
    template = final_output(episode.messages[0]["content"])
    assert template is not None
    return {field: seen.get(field, shown.split(" | ")[0]) for field, shown in template.items()}


def _nearest(name: str, known: Iterable[str]) -> str:
    words = set(name.split("_"))
    return max(known, key=lambda key: (key == name, len(words & set(key.split("_")))))

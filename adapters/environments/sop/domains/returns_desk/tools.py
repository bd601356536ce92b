"""The tools of the returns desk: look-ups in the case file beside this module. They only read."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCKING = False
"""Every call is a dictionary look-up."""


class ReturnsDeskManager:
    """`process_tool_call(name, input)` answers a dictionary, or raises ValueError with what to do."""

    def __init__(self) -> None:
        path = Path(__file__).with_name("test_set_with_outputs.csv")
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self._returns = {row["return_id"]: row for row in rows}
        self._orders = {row["order_id"]: row for row in rows}
        self._inspections = {row["inspection_id"]: row for row in rows if row["inspection_due"] == "yes"}
        self._tools: dict[str, Callable[..., dict[str, Any]]] = {
            "fetch_return": self.fetch_return,
            "fetch_order": self.fetch_order,
            "fetch_archived_order": self.fetch_archived_order,
            "check_return_policy": self.check_return_policy,
            "open_inspection": self.open_inspection,
            "fetch_inspection": self.fetch_inspection,
            "quote_refund": self.quote_refund,
        }

    def process_tool_call(self, tool_name: str, tool_input: dict[str, Any]) -> dict[str, Any]:
        if tool_name not in self._tools:
            raise ValueError(f"There is no tool {tool_name}.")
        try:
            return self._tools[tool_name](**tool_input)
        except TypeError as error:
            raise ValueError(f"Wrong arguments for {tool_name}: {error}") from None

    def fetch_return(self, return_id: str) -> dict[str, Any]:
        row = _find(self._returns, "return_id", return_id)
        return {
            "return_id": row["return_id"],
            "order_id": row["order_id"],
            "return_status": "parcel_received",
            "next_step": "fetch_order",
        }

    def fetch_order(self, order_id: str) -> dict[str, Any]:
        row = _find(self._orders, "order_id", order_id)
        if row["archived"] == "yes":
            raise ValueError(f"Order {order_id} is archived. Call fetch_archived_order with this order_id.")
        return _order(row)

    def fetch_archived_order(self, order_id: str) -> dict[str, Any]:
        row = _find(self._orders, "order_id", order_id)
        if row["archived"] != "yes":
            raise ValueError(f"Order {order_id} is not archived. Call fetch_order with this order_id.")
        return _order(row)

    def check_return_policy(self, order_id: str, sku: str) -> dict[str, Any]:
        row = _find(self._orders, "order_id", order_id)
        if row["item_sku"] != sku:
            raise ValueError(f"Order {order_id} has no item {sku}. Take the item_sku from the order.")
        result = {
            "policy_code": row["policy_code"],
            "return_window_days": int(row["return_window_days"]),
            "preliminary_eligibility": row["preliminary_eligibility"],
            "inspection_due": row["inspection_due"],
        }
        if row["inspection_due"] == "yes":
            return {**result, "next_step": "open_inspection"}
        return {**result, "assessment_id": row["assessment_id"], "next_step": "quote_refund"}

    def open_inspection(self, return_id: str, policy_code: str) -> dict[str, Any]:
        row = _find(self._returns, "return_id", return_id)
        if row["policy_code"] != policy_code:
            raise ValueError(
                f"Policy {policy_code} does not govern {return_id}. "
                "Take the policy_code from check_return_policy."
            )
        if row["inspection_due"] != "yes":
            raise ValueError(f"No inspection is due for {return_id}. Call quote_refund.")
        return {
            "inspection_id": row["inspection_id"],
            "inspection_status": "completed",
            "next_step": "fetch_inspection",
        }

    def fetch_inspection(self, inspection_id: str) -> dict[str, Any]:
        row = _find(self._inspections, "inspection_id", inspection_id)
        return {
            "inspection_id": row["inspection_id"],
            "verified_condition": row["verified_condition"],
            "assessment_id": row["assessment_id"],
            "next_step": "quote_refund",
        }

    def quote_refund(self, return_id: str, assessment_id: str) -> dict[str, Any]:
        row = _find(self._returns, "return_id", return_id)
        if row["assessment_id"] != assessment_id:
            raise ValueError(
                f"Assessment {assessment_id} is not the one of {return_id}. "
                "Take the assessment_id from check_return_policy, or from fetch_inspection if one was due."
            )
        return {
            "eligibility": row["eligibility"],
            "refund_amount": row["refund_amount"],
            "refund_method": row["refund_method"],
            "next_step": "give_final_output",
        }


def _find(index: dict[str, dict[str, str]], name: str, key: str) -> dict[str, str]:
    if not isinstance(key, str) or key not in index:
        raise ValueError(f"There is no {name} {key}.")
    return index[key]


def _order(row: dict[str, str]) -> dict[str, Any]:
    return {
        "order_id": row["order_id"],
        "item_sku": row["item_sku"],
        "paid_amount": row["paid_amount"],
        "days_since_delivery": int(row["days_since_delivery"]),
        "payment_status": row["payment_status"],
        "next_step": "check_return_policy",
    }

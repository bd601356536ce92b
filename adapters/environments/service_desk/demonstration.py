"""Shows how a case is done by the procedure: from what is said and looked up alone to the final output."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Message, MovesPolicy, Steps, use
from adapters.environments.service_desk.policy import WINDOW_DAYS
from adapters.environments.service_desk.procedure import ANSWER_FIELDS


class Clerk:
    """Who works a case; keeps every fact that the customer told."""

    def __init__(self, opening: str) -> None:
        self.facts: dict[str, str] = {}
        self.hear(opening)

    def hear(self, text: str) -> None:
        lines = (line.partition(": ") for line in text.splitlines())
        self.facts |= {name: value for name, colon, value in lines if colon}

    def ask(self, name: str) -> Steps[None]:
        self.hear((yield f"Please tell me your {name}."))

    def work(self) -> Steps[str]:
        """The whole procedure; the answer."""
        found = yield from self.find_order((yield from self.verify()))
        resolution = "denied"
        if found["final_sale"] == "no" and found["days_since_delivery"] <= WINDOW_DAYS:
            yield from self.ask("refund_method")
            resolution = yield from self.settle(found, self.facts["refund_method"])
        else:  # a denial is final: look at the ticket again before it
            yield from use("get_ticket", ticket_id=self.facts["ticket_id"])
        return (yield from self.close(resolution))

    def verify(self) -> Steps[str]:
        """Sections 1 and 2 of the procedure; the account."""
        account = (yield from use("find_account", email=self.facts["email"]))["account_id"]
        yield from self.ask("postcode")
        if "postcode" not in self.facts:
            yield from self.ask("postcode")
        yield from use("verify_customer", account_id=account, postcode=self.facts["postcode"])
        return str(account)

    def find_order(self, account: str) -> Steps[dict[str, Any]]:
        """Sections 3 and 4: what check_policy says of the customer's order."""
        yield from self.ask("order_id")
        order = self.facts.get("order_id")
        if order is None:
            listed = yield from use("list_orders", account_id=account, item=self.facts["item"])
            order = listed["orders"][0]["order_id"]
        found = yield from use("check_policy", order_id=order)
        if "is of another account" in found.get("error", ""):
            yield from self.ask("order_id")
            found = yield from use("check_policy", order_id=self.facts["order_id"])
        return found

    def settle(self, found: Mapping[str, Any], method: str) -> Steps[str]:
        """Sections 6 and 7; the resolution."""
        order, ticket = found["order_id"], self.facts["ticket_id"]
        paid = yield from use(
            "issue_refund", order_id=order, refund_amount=found["refund_amount"], refund_method=method
        )
        if "Call escalate" not in paid.get("error", ""):
            return "refunded"
        yield from use("escalate", ticket_id=ticket, order_id=order, refund_method=method)
        return "escalated"

    def close(self, resolution: str) -> Steps[str]:
        """Sections 8 and 9; the answer."""
        closed = yield from use("update_ticket", ticket_id=self.facts["ticket_id"], resolution=resolution)
        fields = {name: closed[name] for name in ANSWER_FIELDS}
        return f"<final_output>{json.dumps(fields)}</final_output>"


def demonstration() -> MovesPolicy:
    """A policy for one episode of any case."""
    return MovesPolicy(_play)


def _play(messages: Sequence[Message]) -> Steps[str]:
    return Clerk(str(messages[-1]["content"])).work()

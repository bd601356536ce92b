"""The desk of one episode: its books, and the tools that read and write them.

A write is seen by every later read. What a tool refuses it refuses without a trace, by `Refusal`. No clock
and no dice: the same calls in the same order give the same results and leave the same books.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from adapters.environments.service_desk.policy import DESK_LIMIT_CENTS, judge
from adapters.environments.service_desk.world import METHODS, Order, World, money

RESOLUTIONS = ("refunded", "escalated", "denied")
Record: TypeAlias = dict[str, str]
State: TypeAlias = dict[str, dict[str, Record]]
"""table -> key -> record: all that was written."""


class Refusal(ValueError):
    """A tool's answer to a call that it does not carry out: what is wrong, and what to do."""


class Desk:
    """Accounts and orders as the world has them; tickets, refunds and escalations as they are written."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._accounts = {account.account_id: account for account in world.accounts}
        self._orders = {order.order_id: order for order in world.orders}
        self._owners = {world.ticket_id: world.accounts[0], world.other_ticket_id: world.accounts[1]}
        self._verified: set[str] = set()
        self._books: State = {"tickets": {}, "refunds": {}, "escalations": {}}
        self.journal: list[tuple[str, str, Record]] = []
        """Every accepted write in order: table, key, record."""
        self._tools: dict[str, Callable[..., dict[str, Any]]] = {
            "get_ticket": self.get_ticket,
            "find_account": self.find_account,
            "verify_customer": self.verify_customer,
            "list_orders": self.list_orders,
            "check_policy": self.check_policy,
            "issue_refund": self.issue_refund,
            "escalate": self.escalate,
            "update_ticket": self.update_ticket,
        }

    @property
    def state(self) -> State:
        """A copy of all that was written: a later write does not change it."""
        return {
            table: {key: dict(record) for key, record in records.items()}
            for table, records in self._books.items()
        }

    def close(self) -> None:
        """Forget everything. A call after this is refused."""
        self._tools.clear()
        for index in (self._accounts, self._orders, self._owners, self._verified, self._books):
            index.clear()
        self.journal.clear()

    def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run a tool.

        Raises:
            Refusal: there is no such tool, its arguments are wrong, or it refuses.
        """
        if name not in self._tools:
            raise Refusal(f"There is no tool {name}.")
        wrong = [key for key, value in arguments.items() if not isinstance(value, str)]
        if wrong:
            raise Refusal(f"{name}: {wrong[0]} must be a string.")
        try:
            return self._tools[name](**arguments)
        except TypeError as error:
            raise Refusal(f"Wrong arguments for {name}: {error}") from None

    def get_ticket(self, ticket_id: str) -> dict[str, Any]:
        owner = self._owner(ticket_id)
        record = self._books["tickets"].get(ticket_id, {"status": "open"})
        return {"ticket_id": ticket_id, "email": owner.email, **record, "next_step": "find_account"}

    def find_account(self, email: str) -> dict[str, Any]:
        for account in self._accounts.values():
            if account.email == email.strip().lower():
                return {
                    "account_id": account.account_id,
                    "verified": "yes" if account.account_id in self._verified else "no",
                    "next_step": "ask the customer for postcode, then verify_customer",
                }
        raise Refusal(f"There is no account with the email {email}. Take the email of the ticket.")

    def verify_customer(self, account_id: str, postcode: str) -> dict[str, Any]:
        account = self._accounts.get(account_id)
        if account is None:
            raise Refusal(f"There is no account {account_id}. Take it from find_account.")
        if account.postcode != postcode.strip():
            raise Refusal("That is not the postcode of the account. Ask the customer for postcode.")
        self._verified.add(account_id)
        return {
            "account_id": account_id,
            "verified": "yes",
            "next_step": "ask the customer for order_id, then check_policy, or list_orders without order_id",
        }

    def list_orders(self, account_id: str, item: str) -> dict[str, Any]:
        self._require_verified(account_id)
        found = [
            self._order_line(order)
            for order in self._orders.values()
            if order.account_id == account_id and order.item == item.strip().lower()
        ]
        if not found:
            raise Refusal(f"The account {account_id} has no order of {item}.")
        return {"orders": found, "next_step": "check_policy"}

    def check_policy(self, order_id: str) -> dict[str, Any]:
        order = self._own_order(order_id)
        if order_id in self._books["refunds"]:
            raise Refusal(f"Order {order_id} is refunded already. Call update_ticket.")
        verdict = judge(order)
        result = {**self._order_line(order), "refund_amount": money(verdict.refund_cents)}
        if verdict.resolution == "denied":
            return {**result, "resolution": "denied", "next_step": "update_ticket"}
        return {**result, "next_step": "ask the customer for refund_method, then issue_refund"}

    def issue_refund(self, order_id: str, refund_amount: str, refund_method: str) -> dict[str, Any]:
        order = self._own_order(order_id)
        if order_id in self._books["refunds"]:
            raise Refusal(f"Order {order_id} is refunded already. Call update_ticket.")
        cents = _cents(refund_amount)
        _require_method(refund_method)
        if cents > judge(order).refund_cents:
            raise Refusal(f"{refund_amount} is more than check_policy allows for {order_id}.")
        if cents > DESK_LIMIT_CENTS:
            raise Refusal(
                f"{refund_amount} is over the desk's limit of {money(DESK_LIMIT_CENTS)}. Call escalate."
            )
        record = {
            "refund_amount": money(cents),
            "refund_method": refund_method,
            "reference": order.refund_reference,
        }
        self._write("refunds", order_id, record)
        return {"order_id": order_id, **record, "resolution": "refunded", "next_step": "update_ticket"}

    def escalate(self, ticket_id: str, order_id: str, refund_method: str) -> dict[str, Any]:
        self._require_own_open_ticket(ticket_id)
        self._own_order(order_id)
        _require_method(refund_method)
        if ticket_id in self._books["escalations"]:
            raise Refusal(f"Ticket {ticket_id} is escalated already. Call update_ticket.")
        record = {
            "order_id": order_id,
            "refund_method": refund_method,
            "reference": self._world.escalation_reference,
        }
        self._write("escalations", ticket_id, record)
        return {"ticket_id": ticket_id, **record, "resolution": "escalated", "next_step": "update_ticket"}

    def update_ticket(self, ticket_id: str, resolution: str) -> dict[str, Any]:
        self._require_own_open_ticket(ticket_id)
        if resolution not in RESOLUTIONS:
            raise Refusal(f"The resolution {resolution} is unknown. Known: {', '.join(RESOLUTIONS)}.")
        record = {"status": "closed", "resolution": resolution, **self._settlement(ticket_id, resolution)}
        self._write("tickets", ticket_id, record)
        return {"ticket_id": ticket_id, **record, "next_step": "give the final output"}

    def _settlement(self, ticket_id: str, resolution: str) -> Record:
        """What the books hold for the ticket under this resolution."""
        if resolution == "denied":
            return {"refund_amount": money(0), "refund_method": "none", "reference": "none"}
        if resolution == "escalated":
            if ticket_id not in self._books["escalations"]:
                raise Refusal(f"Ticket {ticket_id} was not escalated. Call escalate first.")
            made = self._books["escalations"][ticket_id]
            return {
                "refund_amount": money(0),
                "refund_method": made["refund_method"],
                "reference": made["reference"],
            }
        owner = self._owner(ticket_id).account_id
        own = [r for key, r in self._books["refunds"].items() if self._orders[key].account_id == owner]
        if not own:
            raise Refusal(f"Nothing was refunded for ticket {ticket_id}. Call issue_refund first.")
        return dict(own[-1])

    def _order_line(self, order: Order) -> dict[str, Any]:
        return {
            "order_id": order.order_id,
            "item": order.item,
            "paid_amount": money(order.paid_cents),
            "days_since_delivery": order.days_since_delivery,
            "final_sale": "yes" if order.final_sale else "no",
            "refunded": "yes" if order.order_id in self._books["refunds"] else "no",
        }

    def _write(self, table: str, key: str, record: Record) -> None:
        self._books[table][key] = record
        self.journal.append((table, key, dict(record)))

    def _owner(self, ticket_id: str) -> Any:
        if ticket_id not in self._owners:
            raise Refusal(f"There is no ticket {ticket_id}.")
        return self._owners[ticket_id]

    def _own_order(self, order_id: str) -> Order:
        """An order of a customer who was verified; all others are none of the caller's business."""
        order = self._orders.get(order_id)
        if order is None:
            raise Refusal(f"There is no order {order_id}. Ask the customer for order_id.")
        if not self._verified:
            raise Refusal(
                "The customer is not verified. Ask the customer for postcode, then verify_customer."
            )
        if order.account_id not in self._verified:
            raise Refusal(f"Order {order_id} is of another account. Ask the customer for order_id again.")
        return order

    def _require_verified(self, account_id: str) -> None:
        if account_id not in self._accounts:
            raise Refusal(f"There is no account {account_id}. Take it from find_account.")
        if account_id not in self._verified:
            raise Refusal(
                "The customer is not verified. Ask the customer for postcode, then verify_customer."
            )

    def _require_own_open_ticket(self, ticket_id: str) -> None:
        self._require_verified(self._owner(ticket_id).account_id)
        if ticket_id in self._books["tickets"]:
            raise Refusal(f"Ticket {ticket_id} is closed already.")


def _cents(amount: str) -> int:
    whole, dot, part = amount.partition(".")
    digits = whole + part
    if not dot or len(part) != 2 or not (whole and digits.isascii() and digits.isdigit()) or len(whole) > 6:
        raise Refusal(f"The amount {amount} must be written as 12.50.")
    if int(digits) == 0:
        raise Refusal("Nothing is due for this order. Call update_ticket.")
    return int(digits)


def _require_method(method: str) -> None:
    if method not in METHODS:
        raise Refusal(f"The refund_method {method} is unknown. Known: {', '.join(METHODS)}.")

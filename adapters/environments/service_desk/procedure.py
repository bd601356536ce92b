"""What the policy is given to read: the procedure, the form of the answer, and the tools' schemas."""

from typing import Any

from adapters.contract import ToolSpec
from adapters.environments.service_desk.desk import RESOLUTIONS
from adapters.environments.service_desk.policy import DESK_LIMIT_CENTS, FULL_DAYS, WINDOW_DAYS
from adapters.environments.service_desk.world import METHODS, World, money

ANSWER_FIELDS = ("resolution", "refund_amount", "refund_method", "reference")

SYSTEM = f"""\
You work at the service desk of a shop. A customer wants a refund. Follow the procedure below. You have
tools for the desk's books, and you talk to the customer by writing a message without a tool call. Ask for
one thing in a message, under its name, such as: "Please tell me your postcode." Do not guess what you can
look up or ask.

<procedure>
1. Find the account with find_account, by the email of the ticket. get_ticket shows a ticket again.
2. Ask the customer for postcode, and verify it with verify_customer. Some customers hesitate: ask again.
3. Ask the customer for order_id. Who does not have it names the item: find the order with list_orders then.
4. Look up what is due for the order with check_policy. If it is refused as the order of another account, ask
   the customer for order_id again.
5. Orders in final sale, and orders delivered more than {WINDOW_DAYS} days ago, are denied: go on with 8.
   After more than {FULL_DAYS} days a tenth of the price is kept. check_policy works the refund_amount out.
   What the customer says they paid does not count.
6. Ask the customer for refund_method. It may have changed since they wrote, and the last word counts.
   Refund with issue_refund.
7. More than {money(DESK_LIMIT_CENTS)} the desk may not pay: issue_refund refuses it. Hand the case on with
   escalate then, for the same order and refund_method.
8. Close the ticket with update_ticket and the resolution: refunded, escalated or denied.
9. Give the final output, as the closed ticket has it.
</procedure>

When the ticket is closed, finish with a message that ends in exactly one block of this form, every field a
string:
<final_output>{{"resolution": "refunded | escalated | denied", "refund_amount": "<value>", \
"refund_method": "<value>", "reference": "<value>"}}</final_output>"""


def opening(world: World) -> str:
    """The customer's first message."""
    script = world.script
    return (
        "Hello, I want my money back for something that I bought from you.\n"
        f"ticket_id: {world.ticket_id}\n"
        f"email: {world.accounts[0].email}\n"
        f"claimed_amount: {money(script.claimed_cents)}\n"
        f"refund_method: {script.first_method}"
    )


def _tool(name: str, description: str, **properties: dict[str, Any]) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": {key: {"type": "string", **schema} for key, schema in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


_TICKET = {"description": "The ticket, such as TK-12345."}
_ACCOUNT = {"description": "The account, such as AC-123456."}
_ORDER = {"description": "The order, such as OR-1234567."}
_METHOD = {"description": "How the customer wants the money.", "enum": list(METHODS)}

TOOLS: tuple[ToolSpec, ...] = (
    _tool("get_ticket", "Read a ticket: who wrote it, and its status.", ticket_id=_TICKET),
    _tool("find_account", "Find an account by its email.", email={"description": "The email of the ticket."}),
    _tool(
        "verify_customer",
        "Check that the customer owns the account. Nothing of it is shown or changed before.",
        account_id=_ACCOUNT,
        postcode={"description": "What the customer says is their postcode."},
    ),
    _tool(
        "list_orders",
        "The orders of an item in a verified account.",
        account_id=_ACCOUNT,
        item={"description": "The item, as the customer names it."},
    ),
    _tool("check_policy", "What the refund policy allows for an order.", order_id=_ORDER),
    _tool(
        "issue_refund",
        "Pay a refund. It cannot be taken back.",
        order_id=_ORDER,
        refund_amount={"description": "The amount, such as 12.50.", "pattern": r"^[0-9]{1,6}\.[0-9]{2}$"},
        refund_method=_METHOD,
    ),
    _tool(
        "escalate",
        "Hand a refund over the desk's limit on to the supervisors.",
        ticket_id=_TICKET,
        order_id=_ORDER,
        refund_method=_METHOD,
    ),
    _tool(
        "update_ticket",
        "Close a ticket with its resolution. It cannot be opened again.",
        ticket_id=_TICKET,
        resolution={"description": "How the case ended.", "enum": list(RESOLUTIONS)},
    ),
)

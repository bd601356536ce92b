"""The desk's tools: what they refuse, and that every read sees what was written before it."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from adapters.contract import Task
from adapters.environments import service_desk
from adapters.environments.service_desk.desk import Desk as Books
from adapters.environments.service_desk.desk import Refusal
from adapters.environments.service_desk.policy import judge
from adapters.environments.service_desk.procedure import TOOLS
from adapters.environments.service_desk.world import money
from tests.environments.desk_play import ENVIRONMENT, Desk, by_the_procedure


def world(resolution: str) -> service_desk.World:
    """The first world whose case ends like this."""
    for seed in count():
        if service_desk.make_task(seed).target["answer"]["resolution"] == resolution:
            return service_desk.make_world(seed)
    raise AssertionError


REFUND, ESCALATE, DENY = (world(kind) for kind in ("refunded", "escalated", "denied"))
OWN, OTHER = REFUND.orders[0].order_id, REFUND.orders[-1].order_id
ACCOUNT, STRANGER = REFUND.accounts[0], REFUND.accounts[-1]
DUE = money(judge(REFUND.orders[0]).refund_cents)


def verified(subject: service_desk.World = REFUND) -> Books:
    books = Books(subject)
    owner = subject.accounts[0]
    books.call("verify_customer", {"account_id": owner.account_id, "postcode": owner.postcode})
    return books


def paid(method: str = "store_credit", amount: str = DUE) -> Books:
    books = verified()
    refund = {"order_id": OWN, "refund_amount": amount, "refund_method": method}
    books.call("issue_refund", refund)
    return books


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no_such_tool", {}, "no tool no_such_tool"),
    ("get_ticket", {}, "Wrong arguments for get_ticket"),
    ("get_ticket", {"ticket_id": REFUND.ticket_id, "more": "x"}, "Wrong arguments for get_ticket"),
    ("get_ticket", {"ticket_id": 5}, "ticket_id must be a string"),
    ("get_ticket", {"ticket_id": ["x"]}, "ticket_id must be a string"),
    ("get_ticket", {"ticket_id": "TK-0"}, "no ticket TK-0"),
    ("find_account", {"email": "nobody@mail.example"}, "no account with the email"),
    ("verify_customer", {"account_id": "AC-0", "postcode": "1"}, "no account AC-0"),
    ("verify_customer", {"account_id": ACCOUNT.account_id, "postcode": "1"}, "not the postcode"),
    ("list_orders", {"account_id": "AC-0", "item": "kettle"}, "no account AC-0"),
    ("list_orders", {"account_id": STRANGER.account_id, "item": "kettle"}, "not verified"),
    ("list_orders", {"account_id": ACCOUNT.account_id, "item": "spaceship"}, "no order of spaceship"),
    ("check_policy", {"order_id": "OR-0"}, "no order OR-0"),
    ("check_policy", {"order_id": OTHER}, "of another account"),
    ("issue_refund", {"order_id": "OR-0", "refund_amount": DUE, "refund_method": "store_credit"}, "no order"),
    ("issue_refund", {"order_id": OTHER, "refund_amount": DUE, "refund_method": "store_credit"}, "another"),
    ("issue_refund", {"order_id": OWN, "refund_amount": DUE, "refund_method": "cash"}, "cash is unknown"),
    (
        "issue_refund",
        {"order_id": OWN, "refund_amount": "900.00", "refund_method": "store_credit"},
        "more than",
    ),
    *(
        ("issue_refund", {"order_id": OWN, "refund_amount": amount, "refund_method": "store_credit"}, problem)
        for amount, problem in {
            "5": "must be written as", "": "must be written as", "-1.00": "must be written as",
            "1.0": "must be written as", "1e2": "must be written as", "\u0663.00": "must be written as",
            "1234567.00": "must be written as", "0.00": "Nothing is due",
        }.items()
    ),
    ("escalate", {"ticket_id": "TK-0", "order_id": OWN, "refund_method": "store_credit"}, "no ticket"),
    (
        "escalate",
        {"ticket_id": REFUND.other_ticket_id, "order_id": OWN, "refund_method": "store_credit"},
        "not verified",
    ),
    (
        "escalate",
        {"ticket_id": REFUND.ticket_id, "order_id": OTHER, "refund_method": "store_credit"},
        "another account",
    ),
    ("escalate", {"ticket_id": REFUND.ticket_id, "order_id": OWN, "refund_method": "cash"}, "is unknown"),
    ("update_ticket", {"ticket_id": "TK-0", "resolution": "denied"}, "no ticket TK-0"),
    ("update_ticket", {"ticket_id": REFUND.other_ticket_id, "resolution": "denied"}, "not verified"),
    ("update_ticket", {"ticket_id": REFUND.ticket_id, "resolution": "done"}, "done is unknown"),
    ("update_ticket", {"ticket_id": REFUND.ticket_id, "resolution": "refunded"}, "Nothing was refunded"),
    ("update_ticket", {"ticket_id": REFUND.ticket_id, "resolution": "escalated"}, "not escalated"),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "problem"), REFUSED)
def test_a_refused_call_says_why_and_leaves_no_trace(
    tool: str, arguments: dict[str, Any], problem: str
) -> None:
    books = verified()
    before = books.state
    with pytest.raises(Refusal, match=problem):
        books.call(tool, arguments)
    assert books.state == before
    assert books.journal == []


@pytest.mark.parametrize("tool", ["list_orders", "check_policy", "issue_refund", "escalate", "update_ticket"])
def test_nothing_is_shown_or_changed_before_the_customer_is_verified(tool: str) -> None:
    books = Books(REFUND)
    known = {
        "account_id": ACCOUNT.account_id, "item": REFUND.script.item, "order_id": OWN,
        "refund_amount": DUE, "refund_method": "store_credit",
        "ticket_id": REFUND.ticket_id, "resolution": "denied",
    }  # fmt: skip
    schemas = {t["function"]["name"]: t["function"]["parameters"] for t in TOOLS}
    with pytest.raises(Refusal, match="not verified"):
        books.call(tool, {name: known[name] for name in schemas[tool]["required"]})
    assert books.journal == []


def test_a_refund_is_seen_by_all_later_reads_and_made_once() -> None:
    books = paid()
    listed = books.call("list_orders", {"account_id": ACCOUNT.account_id, "item": REFUND.script.item})
    assert [order["refunded"] for order in listed["orders"]] == ["yes"]
    with pytest.raises(Refusal, match="refunded already"):
        books.call("check_policy", {"order_id": OWN})
    with pytest.raises(Refusal, match="refunded already"):
        books.call(
            "issue_refund", {"order_id": OWN, "refund_amount": "0.01", "refund_method": "store_credit"}
        )
    assert len(books.journal) == 1
    closed = books.call("update_ticket", {"ticket_id": REFUND.ticket_id, "resolution": "refunded"})
    assert (closed["refund_amount"], closed["refund_method"]) == (DUE, "store_credit")
    read = books.call("get_ticket", {"ticket_id": REFUND.ticket_id})
    assert (read["status"], read["reference"]) == ("closed", REFUND.orders[0].refund_reference)


def test_a_closed_ticket_stays_as_it_is() -> None:
    books = paid()
    ticket = {"ticket_id": REFUND.ticket_id}
    books.call("update_ticket", {**ticket, "resolution": "denied"})
    before = books.state
    for tool, more in (
        ("update_ticket", {"resolution": "refunded"}),
        ("escalate", {"order_id": OWN, "refund_method": "store_credit"}),
    ):
        with pytest.raises(Refusal, match="closed already"):
            books.call(tool, {**ticket, **more})
    assert books.state == before


def test_more_than_the_limit_is_escalated_once_and_not_paid() -> None:
    books = verified(ESCALATE)
    order, ticket = ESCALATE.orders[0].order_id, ESCALATE.ticket_id
    due = books.call("check_policy", {"order_id": order})["refund_amount"]
    with pytest.raises(Refusal, match=r"limit of 150\.00\. Call escalate"):
        books.call("issue_refund", {"order_id": order, "refund_amount": due, "refund_method": "store_credit"})
    call = {"ticket_id": ticket, "order_id": order, "refund_method": "bank_transfer"}
    books.call("escalate", call)
    with pytest.raises(Refusal, match="escalated already"):
        books.call("escalate", call)
    closed = books.call("update_ticket", {"ticket_id": ticket, "resolution": "escalated"})
    assert (closed["refund_amount"], closed["reference"]) == ("0.00", ESCALATE.escalation_reference)


def test_an_order_that_is_denied_cannot_be_refunded() -> None:
    books = verified(DENY)
    order = DENY.orders[0].order_id
    assert books.call("check_policy", {"order_id": order})["resolution"] == "denied"
    with pytest.raises(Refusal, match="more than check_policy allows"):
        books.call(
            "issue_refund", {"order_id": order, "refund_amount": "0.01", "refund_method": "store_credit"}
        )


def test_a_state_that_was_handed_out_does_not_change_afterwards() -> None:
    books = verified()
    before = books.state
    books.call("issue_refund", {"order_id": OWN, "refund_amount": DUE, "refund_method": "store_credit"})
    assert before["refunds"] == {}
    books.state["refunds"].clear()
    assert list(books.state["refunds"]) == [OWN]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    task: Task = service_desk.make_task(1)
    async with ENVIRONMENT.open(task) as episode:
        yield Desk(episode)


async def test_a_refusal_is_a_result_and_no_exception(desk: Desk) -> None:
    for tool, arguments, _ in REFUSED:
        assert await desk.use(tool, **arguments) == {}
    await by_the_procedure(desk)
    assert desk.grades() == (1.0, 1.0), "refused calls do no harm"

"""What an episode starts from: accounts, orders, a ticket, and the customer's script, all from one seed.

Nothing here changes during an episode. The same seed gives the same world on every machine.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

Recall = Literal["knows", "forgets", "mistakes"]
Kind = Literal["refund", "escalate", "deny"]
T = TypeVar("T", Recall, Kind)

METHODS = ("original_payment", "store_credit", "bank_transfer")
ITEMS = (
    "headphones", "kettle", "backpack", "desk lamp", "running shoes", "keyboard",
    "rain jacket", "blender", "suitcase", "camera strap", "office chair", "wall clock",
)  # fmt: skip
RECALLS: Mapping[Recall, int] = {"knows": 11, "forgets": 5, "mistakes": 4}
KINDS: Mapping[Kind, int] = {"refund": 11, "escalate": 5, "deny": 4}
RELUCTANT_PERCENT = 30
CHANGES_MIND_PERCENT = 50
ACCOUNTS = 3
ORDERS_PER_ACCOUNT = 3


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    email: str
    postcode: str


@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    account_id: str
    item: str
    paid_cents: int
    days_since_delivery: int
    final_sale: bool
    refund_reference: str
    """The number that a refund of this order gets; fixed, so that it does not hang on the order of calls."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the customer knows and how they behave."""

    postcode: str
    reluctant: bool
    """Gives the postcode only when asked a second time."""
    recall: Recall
    """knows the order number; forgets it and names the item; mistakes another's order for theirs at first."""
    order_id: str
    item: str
    wrong_order_id: str
    """What a customer who mistakes it says first: an order of somebody else."""
    first_method: str
    """How they want the money, by the opening message."""
    final_method: str
    """How they want it when they are asked."""
    claimed_cents: int
    """What they say they paid; a claim, not a fact."""


@dataclass(frozen=True, slots=True)
class World:
    ticket_id: str
    other_ticket_id: str
    """A ticket of another customer, open all the time."""
    accounts: tuple[Account, ...]
    """The customer's first."""
    orders: tuple[Order, ...]
    """That of the ticket first."""
    escalation_reference: str
    script: Script


def make_world(seed: int) -> World:
    """The world of a seed."""
    chance = random.Random(seed)  # noqa: S311 - made-up business data, not a secret
    accounts = tuple(_account(chance, number) for number in _numbers(chance, ACCOUNTS, 6))
    kind = _weighted(chance, KINDS)
    numbers = _numbers(chance, ACCOUNTS * ORDERS_PER_ACCOUNT, 7)
    references = _numbers(chance, len(numbers), 6)
    items = [item for _ in accounts for item in chance.sample(ITEMS, ORDERS_PER_ACCOUNT)]
    orders = tuple(
        _order(chance, kind if at == 0 else _weighted(chance, KINDS), number, reference, owner, item)
        for at, (number, reference, item) in enumerate(zip(numbers, references, items, strict=True))
        for owner in [accounts[at // ORDERS_PER_ACCOUNT].account_id]
    )
    ticket, other, escalation = _numbers(chance, 3, 5)
    return World(
        f"TK-{ticket}", f"TK-{other}", accounts, orders, f"ES-{escalation}", _script(chance, accounts, orders)
    )


def money(cents: int) -> str:
    """`12840` is "128.40"."""
    return f"{cents // 100}.{cents % 100:02d}"


def _account(chance: random.Random, number: int) -> Account:
    name = "".join(chance.choice("bcdfghjklmnprstvz") + chance.choice("aeiou") for _ in range(3))
    return Account(f"AC-{number}", f"{name}{number % 100}@mail.example", f"{chance.randrange(10000, 99999)}")


def _order(chance: random.Random, kind: Kind, number: int, reference: int, owner: str, item: str) -> Order:
    paid = chance.randrange(20_000, 90_000) if kind == "escalate" else chance.randrange(500, 14_000)
    final_sale = kind == "deny" and chance.randrange(2) == 0
    late = kind == "deny" and not final_sale
    days = chance.randrange(31, 120) if late else chance.randrange(1, 31)
    return Order(f"OR-{number}", owner, item, paid, days, final_sale, f"RF-{reference}")


def _script(chance: random.Random, accounts: tuple[Account, ...], orders: tuple[Order, ...]) -> Script:
    first, other = chance.sample(METHODS, 2)
    changes = chance.randrange(100) < CHANGES_MIND_PERCENT
    return Script(
        postcode=accounts[0].postcode,
        reluctant=chance.randrange(100) < RELUCTANT_PERCENT,
        recall=_weighted(chance, RECALLS),
        order_id=orders[0].order_id,
        item=orders[0].item,
        wrong_order_id=chance.choice(orders[ORDERS_PER_ACCOUNT:]).order_id,
        first_method=first,
        final_method=other if changes else first,
        claimed_cents=orders[0].paid_cents + chance.randrange(1, 20) * 50,
    )


def _numbers(chance: random.Random, count: int, digits: int) -> list[int]:
    """Distinct numbers in no order, so that none can be told from another."""
    return chance.sample(range(10 ** (digits - 1), 10**digits), count)


def _weighted(chance: random.Random, weights: Mapping[T, int]) -> T:
    at = chance.randrange(sum(weights.values()))
    for value, weight in weights.items():
        if at < weight:
            return value
        at -= weight
    raise AssertionError("the weights do not add up")

"""The simulated customer: answers one clear question, holds back, forgets, mistakes, changes their mind."""

import dataclasses
from typing import Any

import pytest

from adapters.environments.service_desk.customer import Customer
from adapters.environments.service_desk.world import Script

SCRIPT = Script(
    postcode="12345",
    reluctant=False,
    recall="knows",
    order_id="OR-1111111",
    item="kettle",
    wrong_order_id="OR-2222222",
    first_method="store_credit",
    final_method="store_credit",
    claimed_cents=500,
)


def customer(**traits: Any) -> Customer:
    return Customer(dataclasses.replace(SCRIPT, **traits))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Please tell me your postcode.", "postcode: 12345"),
        ("What is your postal code?", "postcode: 12345"),
        ("Could you give me the ORDER NUMBER?", "order_id: OR-1111111"),
        ("What is your order_id?", "order_id: OR-1111111"),
        ("Which refund method do you want?", "refund_method: store_credit"),
    ],
)
def test_a_clear_question_is_answered(question: str, answer: str) -> None:
    said = customer().reply(question)
    assert said is not None
    assert said.splitlines()[-1] == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please tell me everything.",
        "Your postcode is on file.",
        "Please tell me your postcode and your order_id.",
        '{"refund_method": "store_credit"}',
        '```json\n{"resolution": "denied", "refund_method": "none"}\n```',
    ],
)
def test_what_is_no_clear_question_gets_nothing_and_the_customer_leaves_at_the_second(text: str) -> None:
    talk = customer()
    said = talk.reply(text)
    assert said is not None
    assert not any(fact in said for fact in ("12345", "OR-", "store_credit"))
    assert talk.reply("Please tell me your postcode.") is not None, "still there"
    assert talk.reply(text) is None


def test_a_reluctant_customer_wants_to_be_asked_twice() -> None:
    talk = customer(reluctant=True)
    first = talk.reply("What is your postcode?")
    assert first is not None
    assert "12345" not in first
    assert "12345" in (talk.reply("Please tell me your postcode.") or "")


def test_one_who_forgets_names_the_item_however_often_they_are_asked() -> None:
    talk = customer(recall="forgets")
    for _ in range(3):
        said = talk.reply("What is your order_id?") or ""
        assert "item: kettle" in said
        assert "OR-" not in said


def test_one_who_mistakes_names_anothers_order_first() -> None:
    talk = customer(recall="mistakes")
    assert "OR-2222222" in (talk.reply("What is your order_id?") or "")
    assert talk.reply("What is your order_id?") == "Sorry, that was the wrong receipt.\norder_id: OR-1111111"


def test_a_changed_mind_shows_when_asked() -> None:
    talk = customer(final_method="bank_transfer")
    said = talk.reply("Which refund_method do you want?")
    assert said == "I have changed my mind about that.\nrefund_method: bank_transfer"
    assert talk.reply("Which refund_method do you want?") == said


def test_an_answer_ends_the_conversation() -> None:
    assert customer().reply("What is your postcode? <final_output>{}</final_output>") is None

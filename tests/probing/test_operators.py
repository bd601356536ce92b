"""Operators over one subject: what they make is what their names say."""

import json
from collections import defaultdict

import pytest

from mtrl.probing.answers import Answer, read_answer
from mtrl.probing.operators import OPERATORS, Mutant, Setting, Subject
from mtrl.probing.script import Call, Move, answer_of

RIGHT = Answer({"resolution": "refunded", "refund_amount": "12.50"})
TEMPLATE = Answer({"resolution": "refunded | denied", "refund_amount": "<value>"})
TOOL = {"type": "function", "function": {"name": "note", "parameters": {"properties": {"text": {}}}}}
SETTING = Setting("prompt", [TOOL], TEMPLATE, [Answer({"resolution": "denied", "refund_amount": "0.00"})])
SUBJECT = Subject((Move(calls=(Call("look", '{"id": "1"}'),)), Move(RIGHT.text)), SETTING, ['{"found": 1}'])


def mutants() -> dict[str, list[Mutant]]:
    found: dict[str, list[Mutant]] = defaultdict(list)
    for operator in OPERATORS:
        for mutant in operator(SUBJECT):
            found[mutant.kind].append(mutant)
    return found


MUTANTS = mutants()


def answers(kind: str) -> list[str]:
    return [answer_of(mutant.script) for mutant in MUTANTS[kind]]


def test_there_is_a_wide_choice() -> None:
    assert len(MUTANTS) > 100
    assert all(mutant.script for found in MUTANTS.values() for mutant in found)


def test_an_edit_that_claims_to_keep_the_fields_does() -> None:
    kept = [mutant for found in MUTANTS.values() for mutant in found if mutant.keeps_fields]
    assert len(kept) > 50
    for mutant in kept:
        read = read_answer(answer_of(mutant.script))
        # A block that something odd follows or precedes may be unreadable; none reads as other fields.
        assert read is None or read.fields == RIGHT.fields, mutant


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("fence_without_tag", f"```json\n{RIGHT.body}\n```"),
        ("repeated_keys_right_first", '"refunded", "refund_amount": "12.50", "resolution": "denied"'),
        ("hedged_with_bars", '"refunded | denied"'),
        ("answer_of_another_task", '{"resolution": "denied", "refund_amount": "0.00"}'),
        ("form_copied", "refunded | denied"),
        ("number_nudged", '"12.51"'),
        ("value_in_list", '["refunded"]'),
        ("zero_width", "r\u200be"),
        ("full_width", "\uff52\uff45"),
    ],
)
def test_an_edit_is_what_its_name_says(kind: str, text: str) -> None:
    assert any(text in answer for answer in answers(kind)), answers(kind)


def test_the_wrong_answer_is_plausible() -> None:
    assert SUBJECT.wrong is not None
    assert SUBJECT.wrong.fields == {"resolution": "denied", "refund_amount": "0.00"}


def test_a_block_is_smuggled_into_arguments() -> None:
    smuggled = [
        call.arguments
        for mutant in MUTANTS["block_in_arguments_then_wrong"]
        for call in mutant.script[1].calls
    ]
    assert any(json.loads(a) == {"text": RIGHT.block} for a in smuggled if a.startswith("{"))


def test_a_query_is_replaced_by_the_rows_that_were_shown() -> None:
    answer = Answer({"sql": "SELECT name, price FROM items"})
    shown = '{"columns": ["name", "price"], "rows": [["it\'s", 1.5], [null, 2]]}'
    subject = Subject((Move(answer.text),), SETTING, [shown])
    made = [m for operator in OPERATORS for m in operator(subject) if m.kind == "constant_rows"]
    fields = read_answer(answer_of(made[0].script))
    assert fields is not None
    assert fields.fields["sql"] == "SELECT * FROM (VALUES ('it''s', 1.5), (NULL, 2))"


@pytest.mark.parametrize(
    "text",
    [
        "no block",
        '<final_output>{"a": 1, "a": 2}</final_output>',
        "<final_output>[1]</final_output>",
        "<final_output>" + "[" * 5000 + "</final_output>",
    ],
)
def test_what_is_not_of_the_strict_form_is_no_answer(text: str) -> None:
    assert read_answer(text) is None


def test_the_last_block_is_read_with_what_stands_around_it() -> None:
    read = read_answer('first <x>{"a": 1}</x> then <final_output>{"b": 2}</final_output> end')
    assert read is not None
    assert (read.tag, read.fields, read.after) == ("final_output", {"b": 2}, " end")
    assert read.text.startswith('first <x>{"a": 1}</x> then ')

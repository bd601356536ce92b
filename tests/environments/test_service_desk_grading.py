"""Reward and score of the service desk: two code paths that must agree on what is right."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import Completion, ToolCall, Transcript, Turn
from adapters.environments.service_desk import SHAPING_BOUND
from adapters.environments.service_desk.rewarding import read_answer, reward
from adapters.environments.service_desk.scoring import answered, score
from tests.environments.desk_play import block

RIGHT = {
    "resolution": "refunded",
    "refund_amount": "12.50",
    "refund_method": "store_credit",
    "reference": "RF-1",
}
PAID = {name: RIGHT[name] for name in ("refund_amount", "refund_method", "reference")}
STATE: dict[str, dict[str, dict[str, str]]] = {
    "tickets": {"TK-1": {"status": "closed", **RIGHT}},
    "refunds": {"OR-1": PAID},
    "escalations": {},
}
TARGET = {"state": STATE, "answer": RIGHT}
Journal = list[tuple[str, str, dict[str, str]]]
JOURNAL: Journal = [("refunds", "OR-1", PAID), ("tickets", "TK-1", STATE["tickets"]["TK-1"])]


def said(answer: str, turns: int = 1) -> Transcript:
    texts = [""] * (turns - 1) + [answer]
    return Transcript(
        turns=[
            Turn(Completion({"choices": [{"message": {"role": "assistant", "content": t}}]})) for t in texts
        ]
    )


def books(journal: Journal) -> dict[str, dict[str, dict[str, str]]]:
    state: dict[str, dict[str, dict[str, str]]] = {"tickets": {}, "refunds": {}, "escalations": {}}
    for table, key, record in journal:
        state[table][key] = record
    return state


def grades(answer: str, journal: Journal = JOURNAL) -> tuple[float, float]:
    done = said(answer)
    return reward(done, journal, TARGET).value, score(done, books(journal), TARGET).value


@pytest.mark.parametrize("answer", [block(RIGHT), f"All done.\n{block(RIGHT)}\n", f" {block(RIGHT)}\t"])
def test_a_case_settled_and_answered_rightly_is_worth_one(answer: str) -> None:
    assert grades(answer) == (1.0, 1.0)


ODD = [
    "",
    json.dumps(RIGHT),
    f"```json\n{json.dumps(RIGHT)}\n```",
    block(RIGHT) + block(RIGHT),
    block({**RIGHT, "reference": "RF-2"}) + block(RIGHT),
    block(RIGHT) + " That is all.",
    "<final_output> " + block(RIGHT),
    block(RIGHT) + "</final_output>",
    block(RIGHT).upper(),
    block(RIGHT).replace("final_output", "final-output"),
    block(RIGHT).removesuffix(">"),
    block([RIGHT]),  # type: ignore[arg-type]
    block(list(RIGHT.items())),  # type: ignore[arg-type]
    block({**RIGHT, "note": "more"}),
    block({**RIGHT, "refund_amount": 12.5}),
    block({**RIGHT, "reference": None}),
    block({**RIGHT, "reference": {"id": "RF-1"}}),
    block({name: value for name, value in RIGHT.items() if name != "reference"}),
    block({**RIGHT, "resolution": "Refunded"}),
    block({**RIGHT, "resolution": " refunded"}),
    block({**RIGHT, "reference": "RF-\u0661"}),
    block(RIGHT).replace("{", '{"reference": "RF-2", '),
    block(RIGHT).replace("{", '{"reference": "RF-1", '),
    f"<final_output>{'[' * 100_000}</final_output>",
    "<final_output>{}</final_output>",
    "<final_output>null</final_output>",
    '<final_output>{"resolution": NaN}</final_output>',
]


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_is_wrong_for_both(answer: str) -> None:
    value, strict = grades(answer)
    assert strict == 0.0
    assert 0.0 <= value <= SHAPING_BOUND


_PIECES = st.sampled_from(
    [
        "<final_output>",
        "</final_output>",
        json.dumps(RIGHT),
        "{}",
        '{"a": "b"}',
        "[]",
        " ",
        "\n",
        "x",
        '"',
        "\x1c",
    ]
)


@given(st.lists(_PIECES, max_size=7).map("".join))
def test_the_two_readers_agree_on_what_an_answer_is(text: str) -> None:
    read = read_answer(text)
    assert answered(text) == (read or {})


WRONG_BOOKS: list[Journal] = [
    [],
    JOURNAL[:1],
    JOURNAL[1:],
    [("refunds", "OR-2", PAID), JOURNAL[1]],
    [*JOURNAL, ("refunds", "OR-2", PAID)],
    [*JOURNAL, ("escalations", "TK-1", {"order_id": "OR-1"})],
    [*JOURNAL, ("tickets", "TK-2", STATE["tickets"]["TK-1"])],
    [("refunds", "OR-1", {**PAID, "refund_amount": "12.49"}), JOURNAL[1]],
    [("refunds", "OR-1", {**PAID, "refund_method": "bank_transfer"}), JOURNAL[1]],
]


@pytest.mark.parametrize("journal", WRONG_BOOKS)
def test_a_right_answer_over_wrong_books_is_wrong_for_both(journal: Journal) -> None:
    value, strict = grades(block(RIGHT), journal)
    assert strict == 0.0
    assert 0.0 < value <= SHAPING_BOUND


def test_what_was_written_over_counts_against_the_reward_and_not_the_score() -> None:
    """Where the two part, the reward is the stricter one: it reads every write, the score the last state."""
    detour = [("refunds", "OR-1", {**PAID, "refund_amount": "1.00"}), *JOURNAL]
    value, strict = grades(block(RIGHT), detour)
    assert (value <= SHAPING_BOUND, strict) == (True, 1.0)


def test_no_shaping_without_an_answer_and_none_for_doing_too_much() -> None:
    assert reward(said("I am done."), JOURNAL, TARGET).value == 0.0
    assert reward(Transcript(), JOURNAL, TARGET).value == 0.0
    assert reward(Transcript(), JOURNAL, TARGET).per_turn == ()
    nothing, half, whole = (reward(said(block({})), JOURNAL[:count], TARGET).value for count in range(3))
    assert 0.0 < nothing < half < whole <= SHAPING_BOUND
    extra = [*JOURNAL, ("refunds", "OR-2", PAID)]
    assert reward(said(block({})), extra, TARGET).value == nothing


def test_the_components_are_measures_and_the_last_turn_carries_the_value() -> None:
    graded = reward(said(block({**RIGHT, "reference": "no"}), turns=4), JOURNAL[:1], TARGET)
    assert graded.components == {"outcome": 0.0, "writes": 0.5, "fields": 0.75, "format": 1.0}
    assert graded.per_turn == (0.0, 0.0, 0.0, graded.value)


def test_the_score_names_what_is_wrong() -> None:
    result = score(said(block({**RIGHT, "reference": "no"})), books(JOURNAL[1:]), TARGET)
    assert [name for name, right in result.fields.items() if not right] == [
        "answer.reference",
        "state.refunds",
    ]


def test_a_block_in_a_turn_that_calls_a_tool_is_no_answer() -> None:
    message: dict[str, Any] = {"role": "assistant", "content": block(RIGHT), "tool_calls": [{}]}
    calling = Transcript(
        turns=[Turn(Completion({"choices": [{"message": message}]}, (ToolCall("1", "t", "{}"),)))]
    )
    assert reward(calling, JOURNAL, TARGET).value == 0.0
    assert score(calling, books(JOURNAL), TARGET).value == 0.0


def test_grading_changes_nothing() -> None:
    target, journal = copy.deepcopy(TARGET), copy.deepcopy(JOURNAL)
    grades(block(RIGHT), journal)
    assert (target, journal) == (TARGET, JOURNAL)

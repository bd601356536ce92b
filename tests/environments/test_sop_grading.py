"""Answers, their score and their reward."""

from typing import Any

import pytest

from adapters.contract import Completion, ToolCall, Transcript, Turn
from adapters.environments.sop import final_output
from adapters.environments.sop.grading import SHAPING_BOUND, reward, score
from tests.environments.play import block, transcript

TARGET = {"eligibility": "approved", "refund_amount": "128.40", "final status": "Done"}
RIGHT = {"eligibility": "approved", "refund_amount": "128.40", "final status": "Done"}


@pytest.mark.parametrize(
    "answer",
    [
        block(RIGHT),
        f"I looked it up.\n{block(RIGHT)}\nThat is all.",
        block({"eligibility": "denied"}) + block(RIGHT),
        "<final_output> stray " + block(RIGHT),
        block({"eligibility": " APPROVED ", "refund_amount": "128.40", "final status": "done"}),
        block({**RIGHT, "note": "an unknown key"}),
        block(RIGHT).replace('"128.40"', "128.40"),
    ],
)
def test_a_right_answer_scores_and_earns_one(answer: str) -> None:
    assert score(transcript(answer), TARGET).value == 1.0
    assert reward(transcript(answer), TARGET).value == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "approved, 128.40, Done",
        str(RIGHT),
        f"<output>{block(RIGHT)[14:-15]}</output>",
        block(RIGHT).removesuffix("</final_output>"),
        block(RIGHT).replace("final_output", "FINAL_OUTPUT"),
        f"<final_output>[{block(RIGHT)[14:-15]}]</final_output>",
        f"<final_output>```json {block(RIGHT)[14:-15]}```</final_output>",
        '<final_output>{"eligibility": NaN}</final_output>',
        block(RIGHT) + "<final_output></final_output>",
        "<final_output>" + "[" * 100_000 + "</final_output>",
    ],
)
def test_what_is_no_block_is_no_answer_for_reward_and_score_alike(answer: str) -> None:
    assert final_output(answer) is None
    assert score(transcript(answer), TARGET).value == 0.0
    assert reward(transcript(answer), TARGET).value == 0.0


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"refund_amount": "128.4"}, "refund_amount"),
        ({"refund_amount": None}, "refund_amount"),
        ({"refund_amount": ["128.40"]}, "refund_amount"),
        ({"eligibility": "denied"}, "eligibility"),
        ({"final status": ""}, "final status"),
    ],
)
def test_one_wrong_field_fails_the_answer(change: dict[str, Any], wrong: str) -> None:
    done = transcript(block({**RIGHT, **change}))
    result = score(done, TARGET)
    assert result.value == 0.0
    assert [name for name, right in result.fields.items() if not right] == [wrong]
    assert 0.0 < reward(done, TARGET).value <= SHAPING_BOUND


def test_a_missing_field_is_wrong() -> None:
    fields = {key: value for key, value in RIGHT.items() if key != "final status"}
    assert score(transcript(block(fields)), TARGET).fields == {
        "eligibility": True,
        "refund_amount": True,
        "final status": False,
    }


def test_an_earlier_right_block_does_not_save_a_wrong_last_one() -> None:
    done = transcript(block(RIGHT) + block({**RIGHT, "eligibility": "denied"}))
    assert score(done, TARGET).value == 0.0
    assert reward(done, TARGET).value < 1.0


def test_booleans_and_numbers_are_compared_as_text() -> None:
    target = {"ready": "True", "count": "1", "code": "007"}
    assert score(transcript(block({"ready": True, "count": 1, "code": "007"})), target).value == 1.0
    wrong = score(transcript(block({"ready": "yes", "count": 1.0, "code": 7})), target)
    assert wrong.fields == {"ready": False, "count": False, "code": False}


def test_a_number_keeps_the_text_that_was_written() -> None:
    assert final_output('<final_output>{"a": 1.50, "b": -0, "c": 1e2}</final_output>') == {
        "a": "1.50",
        "b": "-0",
        "c": "1e2",
    }


def test_more_right_fields_earn_more_and_never_as_much_as_the_outcome() -> None:
    target = dict.fromkeys("abcdef", "right")
    answers = [
        {name: "right" if at < right else "no" for at, name in enumerate(target)} for right in range(6)
    ]
    values = [reward(transcript(block(answer)), target).value for answer in answers]
    assert values == sorted(set(values))
    assert values[0] > 0.0
    assert values[-1] < SHAPING_BOUND < 1.0


def test_the_components_are_measures() -> None:
    graded = reward(transcript(block({**RIGHT, "eligibility": "denied"})), TARGET)
    assert graded.components == {"outcome": 0.0, "fields": pytest.approx(2 / 3), "format": 1.0}


def test_the_last_turn_carries_the_value() -> None:
    graded = reward(transcript(block(RIGHT), turns=4), TARGET)
    assert graded.per_turn == (0.0, 0.0, 0.0, 1.0)
    assert reward(Transcript(), TARGET).per_turn == ()
    assert reward(Transcript(), TARGET).value == 0.0


def test_a_block_in_a_turn_that_still_calls_a_tool_is_no_answer() -> None:
    message = {
        "role": "assistant",
        "content": block(RIGHT),
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
    }
    completion = Completion({"choices": [{"message": message}]}, (ToolCall("1", "t", "{}"),))
    assert score(Transcript(turns=[Turn(completion)]), TARGET).value == 0.0

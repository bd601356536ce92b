"""What is a tool call written as text, and what is an answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import ToolCall
from adapters.loops.text_tool_calls import recover

TOOLS = ["look_up", "close"]
CALL = '{"name": "look_up", "arguments": {"key": "a"}}'


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"I will now look.\n{CALL}\nThen I go on.",
        f"```json\n{CALL}\n```",
        f"<tool_call>\n{CALL}\n</tool_call>",
        '{"tool": "look_up", "args": {"key": "a"}}',
        '{"tool_name": "look_up", "input": {"key": "a"}}',
        '{"function": "look_up", "parameters": {"key": "a"}}',
        '{"name": "functions.look_up", "arguments": {"key": "a"}}',
        '{"name": "look_up", "arguments": "{\\"key\\": \\"a\\"}"}',
        '{"type": "function", "id": "x", "function": {"name": "look_up", "arguments": {"key": "a"}}}',
        'look_up({"key": "a"})',
        'functions.look_up( {"key": "a"} )',
        'to=functions.look_up({"key": "a"})',
        '{ broken look_up({"key": "a"})',
    ],
)
def test_a_call_is_recovered(text: str) -> None:
    (call,) = recover(text, TOOLS)
    assert (call.id, call.name, json.loads(call.arguments)) == ("", "look_up", {"key": "a"})


def test_several_calls_come_in_order() -> None:
    text = f'{CALL} and {{"name": "close"}} and close({{"why": {{"look_up": 1}}}})'
    assert [(call.name, json.loads(call.arguments)) for call in recover(text, TOOLS)] == [
        ("look_up", {"key": "a"}),
        ("close", {}),
        ("close", {"why": {"look_up": 1}}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The case is closed.",
        "I used look_up and then close.",
        "look_up(key)",
        '{"status": "done", "why": "look_up said so"}',
        '{"name": "look_up", "status": "sent"}',
        '{"name": "other", "arguments": {"key": "look_up"}}',
        'overlook_up({"key": 1})',
        'look_up: {"key": "a"}',
        f"<final_output>{CALL}</final_output>",
        f"Done, as close wanted.\n<final_output>\n{CALL}\n</final_output>",
        f"<final_output>{CALL}",
        '<final_output>close({"a": 1})</final_output>',
        '{"name": 3, "arguments": {"look_up": 1}}',
        "{" * 10_000 + "look_up",
        '{"look_up":' * 5_000,
    ],
)
def test_an_answer_is_left_alone(text: str) -> None:
    assert recover(text, TOOLS) == ()


def test_a_call_before_an_answer_block_is_still_a_call() -> None:
    assert recover(f"{CALL}<final_output>{{}}</final_output>", TOOLS) == (
        ToolCall("", "look_up", '{"key": "a"}'),
    )


@given(st.text(alphabet='{}[]":,()lok_upclose.namerguts0 \\ud8', max_size=120))
def test_any_text_is_read(text: str) -> None:
    assert all(call.name in TOOLS for call in recover(text, TOOLS))


DICTATED = '{"name": "look_up", "arguments": {"key": "ä1"}}'


@pytest.mark.parametrize(
    "said",
    [DICTATED, json.dumps({"note": f"see {DICTATED}"}), json.dumps({"note": DICTATED}, ensure_ascii=False)],
)
def test_a_call_that_was_said_before_is_a_quotation(said: str) -> None:
    assert recover(f"It says: {DICTATED}", TOOLS, ["hello", said]) == ()
    assert len(recover(DICTATED.replace("1", "2"), TOOLS, [said])) == 1


def test_a_call_without_arguments_is_no_quotation_of_some_empty_object() -> None:
    assert len(recover("close({})", TOOLS, ['{"rows": [{}]}'])) == 1
    assert recover("close({})", TOOLS, ["now say close({})"]) == ()

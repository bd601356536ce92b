"""The Bedrock policy: real boto3 over HTTP, against a server that holds botocore's own model of Converse."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.policies.base import PolicyError, Sampled
from rehearsal.policies.bedrock import BedrockPolicy
from rehearsal.policies.converse import from_converse, to_converse
from tests.policies.converse_server import ConverseServer, converse_server, refused, said

MODEL = "us.anthropic.claude-example-v1:0"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "The colour of a case.",
        "parameters": {"type": "object", "properties": {"case": {"type": "string"}}, "required": ["case"]},
    },
}
OPENING: list[dict[str, Any]] = [
    {"role": "system", "content": "Be exact."},
    {"role": "user", "content": "What colours?"},
]
REQUEST = {"messages": OPENING, "tools": [TOOL], "temperature": 0.5, "top_p": 0.9, "max_tokens": 600}


def use(number: int, case: str) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": f"tooluse_{number}", "name": "look_up", "input": {"case": case}}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConverseServer]:
    with converse_server() as made:
        for name, value in {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": made.url, "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield made


async def sample(**request: Any) -> Sampled:
    policy = BedrockPolicy(MODEL)
    try:
        return await policy.sample({**REQUEST, **request}, seed=1)
    finally:
        await policy.close()


async def test_a_conversation_with_tools_goes_both_ways(server: ConverseServer) -> None:
    server.answer = lambda _: said({"text": "Two."}, use(1, "a"), use(2, "b"), stop="tool_use")
    turn = await sample()
    calls = turn.message["tool_calls"]
    assert [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls] == [
        ("tooluse_1", "look_up", {"case": "a"}),
        ("tooluse_2", "look_up", {"case": "b"}),
    ]
    assert (turn.message["content"], turn.finish_reason) == ("Two.", "tool_calls")
    assert (turn.prompt_tokens, turn.completion_tokens) == (11, 7)

    results = [
        {"role": "tool", "tool_call_id": "tooluse_1", "content": "red"},
        {"role": "tool", "tool_call_id": "tooluse_2", "content": ""},
    ]
    server.answer = lambda _: said({"text": "red"})
    last = await sample(messages=[*OPENING, turn.message, *results])
    assert (last.message, last.finish_reason) == ({"role": "assistant", "content": "red"}, "stop")
    assert server.breaches == []
    assert server.models == [MODEL] * 2
    first, second = server.requests
    assert first["system"] == [{"text": "Be exact."}]
    assert first["inferenceConfig"] == {"maxTokens": 600, "temperature": 0.5, "topP": 0.9}
    assert (
        first["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"] == TOOL["function"]["parameters"]
    )
    assert second["messages"][1]["content"] == [{"text": "Two."}, use(1, "a"), use(2, "b")]
    assert second["messages"][2] == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "red"}]}},
            {"toolResult": {"toolUseId": "tooluse_2", "content": [{"text": "(empty)"}]}},
        ],
    }


async def test_signed_and_hidden_reasoning_goes_back_as_it_was(server: ConverseServer) -> None:
    signed = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
    hidden = {"reasoningContent": {"redactedContent": base64.b64encode(b"\x00\xff").decode()}}
    plain = {"reasoningContent": {"reasoningText": {"text": "aloud"}}}
    # On the wire a blob is base64, which the validator does not read as one: so the check is left out here.
    server.check = lambda *_: None  # type: ignore[method-assign]
    server.answer = lambda _: said(signed, hidden, plain, {"text": "red"})
    turn = await sample()
    assert turn.message["reasoning_content"] == "hmaloud"
    json.dumps(turn.message)  # it travels as JSON
    await sample(messages=[*OPENING, turn.message, {"role": "user", "content": "Sure?"}])
    assert server.requests[1]["messages"][1]["content"] == [signed, hidden, {"text": "red"}]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (424, "ModelErrorException"),
    ],
)
async def test_a_refusal_keeps_its_status(server: ConverseServer, status: int, code: str) -> None:
    server.answer = lambda _: refused(status, code, "the reason")
    with pytest.raises(PolicyError, match="the reason") as caught:
        await sample()
    assert caught.value.status == status
    assert MODEL in str(caught.value)


async def test_a_throttled_call_is_tried_again_and_then_said(server: ConverseServer) -> None:
    server.answer = lambda _: refused(429, "ThrottlingException")
    with pytest.raises(PolicyError) as caught:
        await sample()
    assert (caught.value.status, len(server.requests)) == (429, 2)


async def test_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch, server: ConverseServer) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    with pytest.raises(PolicyError, match="Bedrock cannot be used"):
        await sample()


def test_without_a_region_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(PolicyError, match="Set AWS_REGION"):
        BedrockPolicy(MODEL)


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("max_tokens", "length"), ("stop_sequence", "stop"), ("guardrail_intervened", "content_filter"),
     ("model_context_window_exceeded", "length"), ("malformed_tool_use", "stop")],
)  # fmt: skip
def test_stop_reasons(stop: str, finish: str) -> None:
    assert from_converse(said({"text": "x"}, stop=stop)[1]).finish_reason == finish


@pytest.mark.parametrize(
    "answer", [{}, {"output": {}}, {"output": {"message": {"content": [1]}}}, {"output": None}]
)
def test_whatever_else_comes_is_a_policy_error(answer: Any) -> None:
    with pytest.raises(PolicyError, match="something else"):
        from_converse({"usage": {"outputTokens": 1}, "stopReason": "end_turn", **answer})


def test_an_empty_answer_is_an_answer() -> None:
    assert from_converse(said()[1]).message == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("request_", "said_"),
    [
        ({"temperature": 1.5}, "temperature above 1"),
        ({"tool_choice": "none"}, "tool_choice 'none'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "than text"),
        ({"messages": [{"role": "function", "content": "x"}]}, "the role 'function'"),
    ],
)
def test_what_converse_has_no_word_for_is_refused(request_: dict[str, Any], said_: str) -> None:
    with pytest.raises(PolicyError, match=said_) as caught:
        to_converse({**REQUEST, **request_})
    assert caught.value.status == 400


def test_odd_messages_become_what_converse_takes() -> None:
    broken = {"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": "{oops"}}
    call = to_converse(
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": None, "tool_calls": [broken]},
                {"role": "tool", "tool_call_id": "t1", "content": "bad arguments"},
                {"role": "user", "content": "again"},
                {"role": "assistant", "content": " "},
                {"role": "user", "content": "?"},
            ],
            "tools": [{"type": "function", "function": {"name": "look_up", "description": ""}}],
            "tool_choice": "required",
            "stop": "END",
            "top_p": 1.0,
        }
    )
    server = ConverseServer()
    from tests.policies.converse_server import CONVERSE

    server.check(CONVERSE.input_shape, {"modelId": MODEL, **call})
    server._turns(call)
    assert server.breaches == []
    assert call["messages"][0]["content"] == [{"text": "ab"}]
    assert call["messages"][1]["content"][0]["toolUse"]["input"] == {"arguments": "{oops"}
    assert call["toolConfig"]["toolChoice"] == {"any": {}}
    assert call["inferenceConfig"] == {"stopSequences": ["END"]}

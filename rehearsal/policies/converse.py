"""OpenAI chat messages and tools in the words of Bedrock's Converse API, and back.

What Converse asks for and OpenAI does not: roles take turns, no text is blank, all results of one turn's tool
calls come in one user message, and a model's signed reasoning goes back to it as it was.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.policies.base import PolicyError, Sampled

BLANK = "(empty)"
"""Stands for a text without content, which Converse refuses."""
REASONING = "bedrock_reasoning"
"""The member of an assistant message that carries signed reasoning from one turn to the next."""
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""All others (malformed output) are a `stop`: the adapter reads what text there is."""


def to_converse(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of Converse, but for the model.

    Raises:
        PolicyError: the request holds what Converse has no word for; status 400.
    """
    messages = request["messages"]
    system = [{"text": _text(m)} for m in messages if m["role"] in ("system", "developer")]
    turns = [_message(m) for m in messages if m["role"] not in ("system", "developer")]
    call: dict[str, Any] = {"messages": _alternating(turns), "inferenceConfig": _inference(request)}
    if system:
        call["system"] = system
    if request.get("tools"):
        call["toolConfig"] = {"tools": [_tool(tool["function"]) for tool in request["tools"]]}
        choice = _choice(request.get("tool_choice"))
        if choice:
            call["toolConfig"]["toolChoice"] = choice
    return call


def from_converse(answer: Mapping[str, Any]) -> Sampled:
    """The turn in an answer of Converse. Raises PolicyError if it is none."""
    try:
        blocks, usage = answer["output"]["message"]["content"], answer["usage"]
        message = _assistant(blocks)
        tokens = [int(usage.get(name) or 0) for name in _PROMPT_TOKENS]
        return Sampled(message, _finish(answer["stopReason"]), sum(tokens), int(usage["outputTokens"]))
    except (KeyError, TypeError, AttributeError):
        raise PolicyError("Bedrock answered something else than a message") from None


_PROMPT_TOKENS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def _finish(reason: str) -> str:
    return FINISH.get(reason, "stop")


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = message["role"]
    if role == "tool":
        result = {"toolUseId": message.get("tool_call_id") or "", "content": [{"text": _text(message)}]}
        return {"role": "user", "content": [{"toolResult": result}]}
    if role == "user":
        return {"role": "user", "content": [{"text": _text(message)}]}
    if role != "assistant":
        raise _refused(f"messages of the role {role!r}")
    calls = [_tool_use(call) for call in message.get("tool_calls") or ()]
    said = [{"text": _text(message)}] if _raw_text(message).strip() or not calls else []
    return {"role": "assistant", "content": [*_reasoning_back(message), *said, *calls]}


def _alternating(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of one role become one message."""
    merged: list[dict[str, Any]] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            merged[-1]["content"] += turn["content"]
        else:
            merged.append(turn)
    return merged


def _text(message: Mapping[str, Any]) -> str:
    text = _raw_text(message)
    return text if text.strip() else BLANK


def _raw_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not all(part.get("type", "text") == "text" and isinstance(part.get("text"), str) for part in content):
        raise _refused("content other than text")
    return "".join(part["text"] for part in content)


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        arguments = function["arguments"]
    # Bedrock takes objects only; whatever else a model may have written is kept in one.
    given = arguments if isinstance(arguments, dict) else {"arguments": arguments}
    return {"toolUse": {"toolUseId": call.get("id") or "", "name": function["name"], "input": given}}


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    spec: dict[str, Any] = {"name": function["name"], "inputSchema": {"json": schema}}
    if function.get("description"):
        spec["description"] = function["description"]
    return {"toolSpec": spec}


def _choice(choice: object) -> dict[str, Any]:
    if choice in (None, "auto"):
        return {}
    if choice == "required":
        return {"any": {}}
    if isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        return {"tool": {"name": choice["function"].get("name", "")}}
    raise _refused(f"tool_choice {choice!r}")


def _inference(request: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "maxTokens": request.get("max_tokens") or request.get("max_completion_tokens"),
        "temperature": request.get("temperature"),
        "topP": request.get("top_p"),
    }
    if (found["temperature"] or 0) > 1:
        raise _refused(f"a temperature above 1 ({found['temperature']:g})")
    # With top_p = 1 nothing is cut off, and some models refuse it beside a temperature.
    if found["topP"] == 1:
        found["topP"] = None
    stop = request.get("stop")
    if stop:
        found["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    return {name: value for name, value in found.items() if value is not None}


def _assistant(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    texts = [block["text"] for block in blocks if "text" in block]
    calls = [_call(block["toolUse"]) for block in blocks if "toolUse" in block]
    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    if thoughts:
        message["reasoning_content"] = "".join(t.get("reasoningText", {}).get("text", "") for t in thoughts)
        message[REASONING] = [_storable(thought) for thought in thoughts]
    return message


def _call(use: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": use["name"], "arguments": json.dumps(use["input"])}
    return {"id": use["toolUseId"], "type": "function", "function": function}


def _storable(thought: Mapping[str, Any]) -> dict[str, Any]:
    if "redactedContent" in thought:
        return {"redactedContent": base64.b64encode(thought["redactedContent"]).decode()}
    return dict(thought)


def _reasoning_back(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reasoning with a signature, or hidden, must go back; models without either refuse to see theirs."""
    back: list[dict[str, Any]] = []
    for thought in message.get(REASONING) or ():
        if "redactedContent" in thought:
            hidden = base64.b64decode(thought["redactedContent"])
            back.append({"reasoningContent": {"redactedContent": hidden}})
        elif thought.get("reasoningText", {}).get("signature"):
            back.append({"reasoningContent": thought})
    return back


def _refused(what: str) -> PolicyError:
    return PolicyError(f"Bedrock's Converse API takes no {what.removeprefix('a ')}.", status=400)

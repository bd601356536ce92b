"""Tool calls that the policy wrote as text.

Training can erode the tool-call format: the policy starts to write its calls into the content, every rollout
of a group then fails alike, and no gradient leads back. Such calls are recovered (and counted, and penalized
by the runtime), so that better rollouts remain to be preferred.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from adapters.contract import ToolCall

_NAME_KEYS = ("name", "tool", "function", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")
_CALL_SYNTAX = re.compile(r"(?:functions?\.|to=functions?\.|\b)([A-Za-z_][\w.-]*)\s*\(\s*(?=\{)")
_ANSWER_BLOCK = re.compile(r"<final_output>.*?(?:</final_output>|\Z)", re.DOTALL)
"""A final answer may well name a tool; it is none the less an answer."""
_DECODER = json.JSONDecoder()


def recover(text: str, tools: Collection[str], heard: Sequence[str] = ()) -> tuple[ToolCall, ...]:
    """The calls of known tools in `text`, in order; empty for an ordinary answer.

    A call that stands word for word in `heard` (what tools and other parties said) is a quotation: data
    that imitates a call is not carried out because the policy repeats it.

    Recognized are JSON objects `{"name": …, "arguments": {…}}` (bare, fenced or in `<tool_call>` tags, with
    the usual other key names, also one level down as in `{"function": {…}}`), and `tool_name({...})`.
    """
    text = _ANSWER_BLOCK.sub("", text)
    if "{" not in text or not any(name in text for name in tools):
        return ()
    found: list[ToolCall] = []
    for start, end, value in _objects(text):
        call = _from_object(value, tools) or _from_syntax(text, start, value, tools)
        if call is None:
            continue
        begin = start if call.name in text[start:end] else text.rfind(call.name, 0, start)
        if not _quoted(text[begin:end], heard):
            found.append(call)
    return tuple(found)


def _quoted(text: str, heard: Sequence[str]) -> bool:
    """Was it said before, as it is or inside of a JSON string?"""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return any(text in said or any(form in said for form in escaped) for said in heard)


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Outermost JSON objects in the text, with where they start and end."""
    at = text.find("{")
    while at != -1:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield at, end, value
        at = text.find("{", end)


def _from_object(value: dict[str, Any], tools: Collection[str]) -> ToolCall | None:
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    if name is None:
        return None
    name = name.removeprefix("functions.")
    given = [value[key] for key in _ARGUMENT_KEYS if key in value]
    # An answer such as {"name": "Lamp", "status": "sent"} is no call of a tool of that name.
    if name not in tools or not (given or value.keys() <= {*_NAME_KEYS, "type", "id"}):
        return None
    arguments: Any = given[0] if given else {}
    return ToolCall("", name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def _from_syntax(text: str, start: int, value: dict[str, Any], tools: Collection[str]) -> ToolCall | None:
    for match in _CALL_SYNTAX.finditer(text, max(0, start - 120), start + 1):
        if match.end() == start and match[1] in tools:
            return ToolCall("", match[1], json.dumps(value))
    return None

"""Reads a chat request into what the tiny policy can choose from: facts, tools, fields, history."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

_NOTHING_WORDS = frozenset({"none", "not", "no", "na", "nil"})
_TEMPLATE = re.compile(r"<final_output>\s*(\{.*?\})\s*</final_output>", re.DOTALL)
_CASE_LINE = re.compile(r"^[ \t]*([A-Za-z_][\w .-]{0,60}?)[ \t]*:[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_TEXT_RESULT = re.compile(r"^Result of (\S+) \([^)]*\): (.*)$", re.DOTALL)
_ASK = re.compile(r"\bask the customer for ([a-z][a-z_]*)", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
MAX_FACTS = 96
"""A longer memory is not read: the newest facts win, as they do in a model's attention."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that the conversation holds, under the name by which it was given."""

    key: str
    value: Any
    call: int
    """Index of the tool call that returned it; -1 for the task's own input."""

    @property
    def from_tool(self) -> bool:
        return self.call >= 0


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the final answer. `allowed` is empty for free values."""

    name: str
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    required: tuple[str, ...]
    schemas: Mapping[str, Mapping[str, Any]]
    rank: float
    """Where the instructions first name it, in [0, 1]; 1 for a tool that they do not name."""


@dataclass(slots=True)
class Call:
    """A tool call in the history."""

    tool: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the other party last said of a fact, in reply to us."""

    value: str
    after_calls: int
    """How many tool calls had been made by then."""


@dataclass(slots=True)
class View:
    """All that the policy decides from."""

    tools: tuple[Tool, ...]
    fields: tuple[Field, ...]
    facts: list[Fact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    askable: tuple[str, ...] = ()
    """The facts that the instructions tell to ask the customer for."""
    said: dict[frozenset[str], Said] = field(default_factory=dict)
    """By the words of the fact's name; only what was said after the opening."""


def read(request: Mapping[str, Any]) -> View:
    """Read an OpenAI chat request. Unknown shapes are skipped, as a model would skip noise."""
    messages = [m for m in request.get("messages", ()) if isinstance(m, dict)]
    instructions = "\n".join(_text(m) for m in messages if m.get("role") == "system")
    tools = _tools(orjson.dumps(request.get("tools") or []), instructions)
    opening = "\n".join(_text(m) for m in messages[:2] if m.get("role") == "user")
    view = View(tools, _fields(instructions) or _fields(opening), askable=asked_for(instructions))
    _walk(view, messages)
    view.facts = view.facts[-MAX_FACTS:]
    return view


def _walk(view: View, messages: Sequence[Mapping[str, Any]]) -> None:
    called: dict[str, str] = {}
    opening = True
    for message in messages:
        role, text = message.get("role"), _text(message)
        if role == "assistant":
            opening = False
            for call in message.get("tool_calls") or ():
                called[str(call.get("id"))] = str(call.get("function", {}).get("name"))
        elif role == "tool":
            _add_result(view, called.get(str(message.get("tool_call_id")), "?"), text)
        elif role == "user":
            written = _TEXT_RESULT.match(text)
            if written:
                _add_result(view, written[1], written[2])
            else:
                told = _case(text)
                view.facts.extend(Fact(key, value, -1) for key, value in told)
                if not opening:
                    view.said |= {words(key): Said(value, len(view.calls)) for key, value in told}


def _add_result(view: View, tool: str, text: str) -> None:
    values, ok = _result(tool, text)
    index = len(view.calls)
    view.calls.append(Call(tool, ok, text))
    if ok:
        view.facts.extend(Fact(key, value, index) for key, value in values)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


@lru_cache(maxsize=4096)
def _case(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((m[1], m[2]) for m in _CASE_LINE.finditer(text))


@lru_cache(maxsize=65536)
def _result(tool: str, text: str) -> tuple[tuple[tuple[str, Any], ...], bool]:
    """A tool result's key/value pairs, and whether it is a success."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ((tool, text[:200]),), True
    if isinstance(value, dict) and "error" in value:
        return (), False
    return tuple(_flatten(tool, value)), True


def _flatten(key: str, value: Any, depth: int = 0) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and depth < 4:
        return [pair for k, v in value.items() for pair in _flatten(str(k), v, depth + 1)]
    if isinstance(value, list) and depth < 4:
        return [pair for item in value[:8] for pair in _flatten(key, item, depth + 1)]
    return [] if value is None or isinstance(value, dict | list) else [(key, value)]


@lru_cache(maxsize=256)
def _fields(instructions: str) -> tuple[Field, ...]:
    """The fields of the last answer template in the instructions, with the values that it allows."""
    for block in reversed(_TEMPLATE.findall(instructions)):
        try:
            template = json.loads(block)
        except ValueError:
            continue
        if isinstance(template, dict):
            return tuple(Field(str(name), _allowed(hint)) for name, hint in template.items())
    return ()


def _allowed(hint: Any) -> tuple[str, ...]:
    if not isinstance(hint, str) or "|" not in hint:
        return ()
    return tuple(part.strip() for part in hint.split("|") if part.strip())


@lru_cache(maxsize=256)
def _tools(tools_json: bytes, instructions: str) -> tuple[Tool, ...]:
    found = []
    for spec in orjson.loads(tools_json):
        function = spec.get("function") or {}
        schema = function.get("parameters") or {}
        name = str(function.get("name"))
        at = instructions.find(name)
        rank = 1.0 if at < 0 else at / max(1, len(instructions))
        required = tuple(map(str, schema.get("required") or ()))
        found.append(Tool(name, required, schema.get("properties") or {}, rank))
    return tuple(found)


@lru_cache(maxsize=65536)
def asked_for(text: str) -> tuple[str, ...]:
    """The facts that a text tells to ask the customer for, in order."""
    return tuple(dict.fromkeys(_ASK.findall(text)))


@lru_cache(maxsize=8192)
def words(name: str) -> frozenset[str]:
    """The words of an identifier in snake, kebab or camel case, lower-cased."""
    return frozenset(word.lower() for word in _WORD.findall(name))


@lru_cache(maxsize=4096)
def none_like(value: str) -> bool:
    """Does a constant say that something did not happen (`none`, `not_required`, `no_action`)?"""
    found = _WORD.findall(value)
    return bool(found) and found[0].lower() in _NOTHING_WORDS


@lru_cache(maxsize=65536)
def overlap(a: str, b: str) -> float:
    """Jaccard overlap of two identifiers' words, in [0, 1]."""
    left, right = words(a), words(b)
    return len(left & right) / len(left | right) if left and right else 0.0


@lru_cache(maxsize=65536)
def names_in(text: str, names: tuple[str, ...]) -> frozenset[str]:
    """Which of the names occur in a text."""
    return frozenset(name for name in names if name in text)


@lru_cache(maxsize=65536)
def same_name(a: str, b: str) -> bool:
    return words(a) == words(b)

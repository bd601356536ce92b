"""The body of a Sample: what the stand-in takes for an OpenAI chat-completions request.

The real model server refuses a malformed request with a 400 too. Members that are not named here pass.
"""

from typing import Any

import jsonschema_rs
import orjson

from rehearsal.service.state.trajectories import TrajectoryError

MAX_DEPTH = 128
"""Levels of nesting; far more than any tool's schema has, and less than Python's recursion can stand."""

_CALL = {
    "type": "object",
    "properties": {
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
            "required": ["name", "arguments"],
        }
    },
    "required": ["function"],
}
_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"type": "string"},
        "content": {"type": ["string", "null", "array"], "items": {"type": "object"}},
        "tool_calls": {"type": ["array", "null"], "items": _CALL},
    },
    "required": ["role"],
}
_PARAMETERS = {
    "type": ["object", "null"],
    "properties": {
        "properties": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"enum": {"type": "array"}}},
        },
        "required": {"type": "array", "items": {"type": "string"}},
    },
}
_TOOL = {
    "type": "object",
    "properties": {
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
            "required": ["name"],
        }
    },
    "required": ["function"],
}
_LIMIT = {"type": ["integer", "null"], "minimum": 1}
_VALIDATOR = jsonschema_rs.validator_for(
    {
        "type": "object",
        "properties": {
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
            "tools": {"type": ["array", "null"], "items": _TOOL},
            "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
            "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "max_tokens": _LIMIT,
            "max_completion_tokens": _LIMIT,
            "n": {"enum": [1, None]},
            "stream": {"type": ["boolean", "null"]},
            "stream_options": {"type": ["object", "null"]},
        },
        "required": ["messages"],
    }
)


def parse_chat_request(body: bytes) -> dict[str, Any]:
    """The parsed body of a Sample.

    Raises:
        TrajectoryError: a ValidationException that names the member.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid("Body", f"is not valid JSON: {error}") from None
    if _too_deep(request):
        raise _invalid("Body", f"is nested more than {MAX_DEPTH} levels deep")
    for found in _VALIDATOR.iter_errors(request):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found.instance_path)
        raise _invalid(f"Body{path}", found.message[-200:])
    checked: dict[str, Any] = request
    return checked


def _too_deep(value: object) -> bool:
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH + 1):
        inner = [item.values() if isinstance(item, dict) else item for item in level]
        level = [child for items in inner for child in items if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _invalid(where: str, problem: str) -> TrajectoryError:
    return TrajectoryError("ValidationException", f"{where}: {problem}")

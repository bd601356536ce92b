"""From a `toolspecs.json` to tools in OpenAI form with valid JSON Schemas."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs

from adapters.contract import ToolSpec

PERMISSIVE: dict[str, Any] = {"type": "object", "properties": {}}
_TYPES = {
    "float": "number",
    "double": "number",
    "decimal": "number",
    "int": "integer",
    "long": "integer",
    "bool": "boolean",
    "str": "string",
    "text": "string",
    "date": "string",
    "datetime": "string",
    "timestamp": "string",
    "dict": "object",
    "map": "object",
    "list": "array",
    "none": "null",
}
"""Type names that are no JSON Schema but are seen in the wild."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def openai_tools(specs: Any, path: Path) -> tuple[tuple[ToolSpec, ...], list[str]]:
    """The tools of a parsed `toolspecs.json`, and a note for each schema that had to be replaced.

    Raises:
        ValueError: names `path`, what is wrong, and what to do.
    """
    if not isinstance(specs, list) or not specs:
        raise ValueError(f"{path}: must be a list of {{toolSpec: …}} objects with at least one tool.")
    tools: list[ToolSpec] = []
    notes: list[str] = []
    for index, item in enumerate(specs):
        spec = item.get("toolSpec") if isinstance(item, dict) else None
        name = spec.get("name") if isinstance(spec, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{path}: entry {index} needs toolSpec.name: letters, digits, _ or -, up to 64.")
        parameters, note = _parameters((spec or {}).get("inputSchema"))
        if note:
            notes.append(f"toolspecs.json, {name}: {note}")
        function = {
            "name": name,
            "description": str((spec or {}).get("description", "")),
            "parameters": parameters,
        }
        tools.append({"type": "function", "function": function})
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: a tool name occurs twice. Give each tool its own name.")
    return tuple(tools), notes


def _parameters(source: Any) -> tuple[dict[str, Any], str]:
    declared = source.get("json") if isinstance(source, dict) else None
    if not isinstance(declared, dict):
        return dict(PERMISSIVE), "has no inputSchema.json; any object is accepted"
    schema = {"type": "object", **_normal(declared)}
    try:
        jsonschema_rs.validator_for(schema)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        return dict(PERMISSIVE), f"its schema is not valid ({reason}); any object is accepted"
    return schema, ""


def _normal(schema: Any) -> Any:
    """The same schema with foreign type names translated, and `required: true` on a property dropped."""
    if isinstance(schema, list):
        return [_normal(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    normal: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            normal[key] = _TYPES.get(value.lower(), value.lower())
        elif key == "properties" and isinstance(value, dict):
            normal[key] = {name: _normal(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "default", "examples"):
            normal[key] = value
        elif key != "required" or isinstance(value, list):
            normal[key] = _normal(value)
    return normal

"""Every tool has a name that models can call and a valid JSON Schema."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from mtrl.checking.evidence import Evidence, tool_names
from mtrl.datasets.checks import Check

ID = "tool_schemas"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check(evidence: Evidence) -> Check:
    tools = [tool for opening in evidence.openings for tool in opening.tools]
    flaws = sorted({flaw for tool in tools for flaw in _flaws(tool["function"])})
    for opening in evidence.openings:
        flaws += [f"{n} is offered twice" for n, k in Counter(tool_names(opening.tools)).items() if k > 1]
    if not evidence.openings:
        return Check(ID, "fail", "; ".join(evidence.faults[:1]), "An episode must open for its own task.")
    if flaws:
        return Check(
            ID, "fail", f"{len(flaws)} flaws: {flaws[0]}", "Correct `tools`; a model sees them as they are."
        )
    silent = sorted({t["function"]["name"] for t in tools if not t["function"].get("description")})
    if silent:
        text = f"{len(silent)} tools have no description: {', '.join(silent[:5])}"
        return Check(ID, "warn", text, "Say in a sentence what the tool does and when.")
    return Check(ID, "pass", f"{len(set(tool_names(tools)))} tools, valid schemas, each with a description")


def _flaws(function: Mapping[str, Any]) -> Iterator[str]:
    name, schema = str(function.get("name")), function.get("parameters")
    if not _NAME.fullmatch(name):
        yield f"{name!r} is no name: letters, digits, _ or -, up to 64"
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        yield f"{name}: parameters must be a schema of type object"
        return
    try:
        jsonschema_rs.validator_for(dict(schema))
    except (ValueError, jsonschema_rs.ValidationError) as error:
        yield f"{name}: {str(error).partition(chr(10))[0]}"
        return
    missing = [each for each in schema.get("required", ()) if each not in schema.get("properties", {})]
    if missing:
        yield f"{name}: requires {missing[0]!r}, which it does not describe"

"""Shows how a case is done: by the procedure of a shipped domain, or, for a domain of a checkout, whose
procedure only a reader of its `sop.txt` knows, by calling every tool and then answering with the target.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from adapters.contract import MovesPolicy, Steps, Use
from adapters.environments.sop.folder import Domain
from adapters.environments.sop.procedures import PROCEDURES, Procedure

_TRUE = ("true", "yes", "1")


def demonstration(domain: Domain, case: Mapping[str, str], target: Mapping[str, str]) -> MovesPolicy:
    """A policy for one episode of the case."""
    procedure = PROCEDURES.get(domain.name)
    if procedure is not None:
        return MovesPolicy(lambda _: _by_procedure(procedure, case))
    row = next((row for row in domain.rows if case.items() <= row.items()), {})
    return MovesPolicy(lambda _: _by_names(domain, {**row, **case}, target))


def _by_procedure(procedure: Procedure, case: Mapping[str, str]) -> Steps[str]:
    return _block((yield from procedure(case)))


def _by_names(domain: Domain, row: Mapping[str, str], target: Mapping[str, str]) -> Steps[str]:
    """Call every tool with the row's columns and earlier results by name, those that refuse once again.

    A cell of the row goes before a result of the same name: it is what the case is meant to hold. Only what
    belongs to the answer comes from the results, where they show it.
    """
    cells = {name: cell for name, cell in row.items() if cell.strip() and name not in target}
    known: dict[str, Any] = {}
    refused = list(domain.tools)
    for _ in range(2):
        pending, refused = refused, []
        before = len(known)
        for tool in pending:
            function = tool["function"]
            given = arguments(function["parameters"], {**row, **known, **cells})
            text = yield Use(function["name"], given)
            found = dict(shown(text))
            known |= found
            if not found:
                refused.append(tool)
        if len(known) == before:
            break  # nothing new was learned that could help
    return _block(target)


def arguments(schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """For each property what is known under its name, in its type; required ones are filled in any case."""
    required = schema.get("required") or ()
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return {
        name: _typed(part if isinstance(part, Mapping) else {}, known.get(name))
        for name, part in properties.items()
        if name in known or name in required
    }


def shown(text: str) -> Iterator[tuple[str, Any]]:
    """What a result shows, by key, at whatever depth; nothing for a refusal."""
    try:
        body = json.loads(text)
    except ValueError:
        return
    if not (isinstance(body, dict) and "error" in body):
        yield from _leaves("", body)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(str(name), part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(key, part)
    else:
        yield key, value


def _typed(schema: Mapping[str, Any], value: Any) -> Any:
    kind = schema.get("type")
    if kind == "string":
        return str(next(iter(schema.get("enum") or ["x"]))) if value is None else str(value)
    if kind in ("number", "integer"):
        return _number(value, whole=kind == "integer")
    if kind == "boolean":
        return str(value).strip().lower() in _TRUE
    if kind in ("array", "object"):
        return _parsed(value, list if kind == "array" else dict)
    return "x" if value is None else value


def _number(value: Any, *, whole: bool) -> float | int:
    try:
        number = float(str(value).replace(",", ""))
        return int(number) if whole else number
    except (ValueError, OverflowError):
        return 1


def _parsed(value: Any, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A list or an object from what was shown, or from a cell that spells one in JSON or in Python."""
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, kind):
        return value
    return [value] if kind is list and value is not None else kind()


def _literal(cell: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return read(cell)
    return cell


def _block(fields: Mapping[str, Any]) -> str:
    return f"<final_output>{json.dumps(dict(fields), ensure_ascii=False)}</final_output>"

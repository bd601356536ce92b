"""The settings of a deployment as tables for docs/deployment.md, made from the models themselves.

python -m infra.settings_table      renews the document between its marks; a test compares the two
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.errors import CHOSEN
from infra.settings import Deployment

DOCUMENT = Path(__file__).parents[1] / "docs/deployment.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
TARGETS = {"agentcore": "AgentCore", "ec2": "Ec2", "eks": "Eks", "fargate": "Fargate"}
SECTIONS = {"object": "an object", "array": "a list", "integer": "a whole number", "number": "a number"}

Schema = Mapping[str, Any]


def tables() -> str:
    """One table a class of settings, each under the path that its keys have in cdk.json."""
    whole = Deployment.model_json_schema()
    return "\n\n".join(f"**{path}**\n\n{_table(schema)}" for path, schema in _sections(whole))


def _sections(whole: Schema) -> Iterator[tuple[str, Schema]]:
    """The environment itself, its groups, and the targets, each with what is nested in it."""
    classes = whole["$defs"]
    yield "`environments.<env>`", {name: each for name, each in whole["properties"].items() if _scalar(each)}
    for name, each in whole["properties"].items():
        if name not in CHOSEN and not _scalar(each):
            where = "`adapters.<adapter>`, or `environments.<env>.adapter`" if name == "adapter" else ""
            yield from _nested(where or f"`environments.<env>.{name}`", name, _named(each), classes)
    for kind, name in TARGETS.items():
        yield from _nested(f"`environments.<env>.targets.{kind}`", kind, name, classes)


def _nested(where: str, key: str, name: str, classes: Schema) -> Iterator[tuple[str, Schema]]:
    fields = classes[name]["properties"]
    yield where, {field: each for field, each in fields.items() if _scalar(each) and field != "kind"}
    for field, each in fields.items():
        # `workers` is the same on every target: its table stands once, with the first that has it.
        if not _scalar(each) and not (field == "workers" and key != "ec2"):
            of_all = "`environments.<env>.targets.<ec2, eks or fargate>.workers`"
            path = of_all if field == "workers" else f"{where[:-1]}.{field}`"
            yield from _nested(path, key, _named(each), classes)


def _scalar(each: Schema) -> bool:
    """Whether a setting is a value, and no group of settings."""
    return "$ref" not in each and "discriminator" not in each


def _named(each: Schema) -> str:
    return str(each["$ref"]).rsplit("/", 1)[1]


def _table(fields: Schema) -> str:
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for name, each in fields.items():
        if name in CHOSEN:
            continue
        default = f"`{json.dumps(each['default'])}`" if "default" in each else "required"
        meaning = " ".join(str(each.get("description", "")).split())
        lines.append(f"| `{name}` | {_takes(each)} | {default.replace('`null`', '-')} | {meaning} |")
    return "\n".join(lines)


def _takes(each: Schema) -> str:
    """What a value may be, in a few words."""
    if "anyOf" in each:
        return _takes(next(one for one in each["anyOf"] if one.get("type") != "null"))
    if "enum" in each:
        return ", ".join(f"`{value}`" for value in each["enum"])
    if each.get("type") == "array":
        return f"a list: {_takes(each['items'])}"
    if each.get("type") == "boolean":
        return "`true`, `false`"
    if each.get("type") == "string":
        return "an ARN" if str(each.get("pattern", "")).startswith("^arn") else "text"
    return f"{SECTIONS[each['type']]}{_range(each)}"


def _range(each: Schema) -> str:
    low, high = each.get("minimum"), each.get("maximum")
    if low is None:
        return ""
    return f", {low:g} to {high:g}" if high is not None else f", from {low:g}"


def between(text: str, begin: str, end: str, body: str) -> str:
    """A document with another text between two of its marks."""
    before, rest = text.split(begin)
    return f"{before}{begin}\n{body}\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Renew the document."""
    argparse.ArgumentParser(prog="python -m infra.settings_table", description=__doc__).parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(between(text, BEGIN, END, tables()), encoding="utf-8")


if __name__ == "__main__":
    main()

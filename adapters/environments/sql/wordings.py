"""How questions are worded, and the reader that turns a question in these words back into a plan.

The reader sees a question and a schema, never a target: it is what the tool `match_question` runs.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

from adapters.environments.sql.plans import AVERAGE, NONE, Condition, Operation, Plan
from adapters.environments.sql.schemas import Column, Kind, Schema, Table

Slots: TypeAlias = Mapping[str, str]

AGGREGATES: dict[str, Operation] = {"total": "sum", "average": "avg", "highest": "max", "lowest": "min"}
EXTREMES: dict[str, Operation] = {"highest": "top", "lowest": "bottom"}

WORDINGS: dict[str, tuple[str, ...]] = {
    "count": (
        "How many {plural} have the {dimension} '{value}'?",
        "Count the {plural} whose {dimension} is '{value}'.",
    ),
    "aggregate": (
        "What is the {aggregate} {measure} of the {plural} whose {dimension} is '{value}'?",
        "Give the {aggregate} {measure} over all {plural} with the {dimension} '{value}'.",
    ),
    "list": (
        "List the {label} of every {singular} whose {measure} is {operator} {number}.",
        "For which {plural} is the {measure} {operator} {number}? Give their {label}.",
    ),
    "group_count": (
        "For each {dimension}, how many {plural} are there?",
        "Count the {plural} by {dimension}.",
    ),
    "group": (
        "For each {dimension}, what is the {aggregate} {measure} of the {plural}?",
        "Give the {aggregate} {measure} of the {plural} by {dimension}.",
    ),
    "top": (
        "List the {label} of the {limit} {plural} with the {extreme} {measure}, {extreme} first.",
        "Which {limit} {plural} have the {extreme} {measure}? Give their {label}, {extreme} first.",
    ),
    "joined": (
        "What is the {aggregate} {measure} of the {plural} whose {parent} has the {dimension} '{value}'?",
        "Take the {plural} that belong to a {parent} with the {dimension} '{value}': "
        "what is their {aggregate} {measure}?",
    ),
    "joined_group": (
        "For each {dimension} of the {parent}, what is the {aggregate} {measure} of the {plural}?",
        "Give the {aggregate} {measure} of the {plural} by the {dimension} of their {parent}.",
    ),
    "compared": (
        "For how many {plural} is the {measure} {operator} the average {measure} of all {plural}?",
        "Count the {plural} whose {measure} is {operator} the average {measure} of all {plural}.",
    ),
}  # fmt: skip

_SLOT = {
    "aggregate": "|".join(AGGREGATES),
    "extreme": "|".join(EXTREMES),
    "operator": "above|below",
    "number": "[0-9]{1,7}",
    "limit": "[0-9]{1,2}",
    "value": "[^']{1,40}",
}
_ANY_PHRASE = "[a-z ]{1,40}?"


def read_question(schema: Schema, question: str) -> Plan | None:
    """The plan of a question that is in these words; None for any other text."""
    text = " ".join(question.split())
    for family, slots in _matches(text):
        plan = _plan(schema, family, slots)
        if plan is not None:
            return plan
    return None


def _matches(text: str) -> Iterator[tuple[str, Slots]]:
    for family, wordings in WORDINGS.items():
        for wording in wordings:
            found = _pattern(wording).fullmatch(text)
            if found:
                yield family, found.groupdict()


@lru_cache(maxsize=64)
def _pattern(wording: str) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    for at, part in enumerate(re.split(r"\{(\w+)\}", wording)):
        if at % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            parts.append(f"(?P<{part}>{_SLOT.get(part, _ANY_PHRASE)})")
    return re.compile("".join(parts))


def _plan(schema: Schema, family: str, slots: Slots) -> Plan | None:
    """The plan of a family with these slots filled; None if a phrase is not one of the schema's."""
    table = _table(schema, slots)
    if table is None:
        return None
    owner = schema.parent(table) if "parent" in slots else table
    if owner is None or slots.get("parent", owner.singular) != owner.singular:
        return None
    measure, dimension = _named(table, "measure", slots), _named(owner, "dimension", slots)
    if ("measure" in slots and measure is None) or ("dimension" in slots and dimension is None):
        return None
    prefix = f"{owner.name}." if owner is not table else ""
    column = f"{prefix}{dimension.name}" if dimension else NONE
    return Plan(
        table=table.name,
        operation=_operation(family, slots),
        measure=measure.name if measure and family not in ("list", "compared") else NONE,
        group_by=column if "value" not in slots else NONE,
        limit=int(slots.get("limit", "0")),
        conditions=_conditions(slots, column, measure),
    )


def _table(schema: Schema, slots: Slots) -> Table | None:
    def fits(table: Table) -> bool:
        return slots.get("plural") == table.plural or slots.get("singular") == table.singular

    return next(filter(fits, schema.tables), None)


def _named(table: Table, kind: Kind, slots: Slots) -> Column | None:
    return next((column for column in table.of_kind(kind) if column.phrase == slots.get(kind)), None)


def _operation(family: str, slots: Slots) -> Operation:
    if family == "list":
        return "list"
    if "extreme" in slots:
        return EXTREMES[slots["extreme"]]
    return AGGREGATES[slots["aggregate"]] if "aggregate" in slots else "count"


def _conditions(slots: Slots, column: str, measure: Column | None) -> tuple[Condition, ...]:
    if "value" in slots:
        return (Condition(column, "is", slots["value"]),)
    if "operator" in slots and measure is not None:
        value = int(slots["number"]) if "number" in slots else AVERAGE
        return (Condition(measure.name, slots["operator"], value),)
    return ()

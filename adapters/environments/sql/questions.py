"""Generates the tasks: a question in words, and the gold SQL that was checked to answer it.

Everything is drawn from one fixed seed a schema, without clock or network, so the tasks are the same
everywhere. A draw is kept only if its answer tells a query from a guess (see `_telling`).
"""

import hashlib
import json
import random
from functools import lru_cache

from adapters.contract import Split, Task
from adapters.environments.sql.catalog import SCHEMAS
from adapters.environments.sql.database import image
from adapters.environments.sql.plans import AVERAGE, Condition, Plan, render
from adapters.environments.sql.sandbox import Row, Sandbox
from adapters.environments.sql.schemas import Column, Schema, Table
from adapters.environments.sql.wordings import AGGREGATES, EXTREMES, WORDINGS

NAME = "sql"
SEED = 20260101
EACH_FAMILY = 5
"""Questions a family and schema: 9 families and 6 schemas make 270 tasks."""
TRAIN_PERCENT = 60
VALIDATION_PERCENT = 15
_MAX_DRAWS = 500


def tasks(domain: str, split: Split | None = None) -> list[Task]:
    """The tasks of one split of a domain, or of all three, in a fixed order."""
    return [
        Task(
            f"{domain}-{task_key(schema, question)}",
            NAME,
            {"domain": domain, "schema": schema, "question": question},
            {"sql": sql, "ordered": ordered},
        )
        for schema, question, sql, ordered in _questions()
        if split in (None, split_of(task_key(schema, question)))
    ]


def task_key(schema: str, question: str) -> str:
    """16 hex digits from the schema and the question: a question is in one split whatever the domain."""
    text = json.dumps([schema, question], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_of(key: str) -> Split:
    percent = int(key[:8], 16) % 100
    if percent < TRAIN_PERCENT:
        return "train"
    return "validation" if percent < TRAIN_PERCENT + VALIDATION_PERCENT else "test"


def seeds(schema: str, question: str) -> tuple[str, str]:
    """The seeds of the rows that the policy works on, and of the rows that only grading sees."""
    key = task_key(schema, question)
    return f"{key}|shown", f"{key}|held back"


@lru_cache(maxsize=1)
def _questions() -> tuple[tuple[str, str, str, bool], ...]:
    """Schema, question, gold SQL, and whether the order of the rows belongs to the answer."""
    found: list[tuple[str, str, str, bool]] = []
    for schema in SCHEMAS.values():
        chance = random.Random(f"{SEED}|{schema.name}")  # noqa: S311 - made-up questions, not a secret
        for family in WORDINGS:
            found += _of_family(chance, schema, family)
    return tuple(found)


def _of_family(chance: random.Random, schema: Schema, family: str) -> list[tuple[str, str, str, bool]]:
    found: dict[str, tuple[str, str, str, bool]] = {}
    plans: set[Plan] = set()
    for _ in range(_MAX_DRAWS):
        question, plan = _draw(chance, schema, family)
        # The same plan in two wordings would be one question in two splits.
        if plan not in plans and _telling(schema, question, plan):
            plans.add(plan)
            found[question] = (schema.name, question, render(schema, plan), plan.ordered)
            if len(found) == EACH_FAMILY:
                return list(found.values())
    raise AssertionError(f"{schema.name} has too few questions of the family {family}")


def _draw(chance: random.Random, schema: Schema, family: str) -> tuple[str, Plan]:
    """A question of the family, and its plan."""
    wording = chance.choice(WORDINGS[family])
    joined = "{parent}" in wording
    table = chance.choice([t for t in schema.tables if not joined or t.reference])
    owner = (schema.parent(table) if joined else None) or table
    measure, dimension = chance.choice(table.of_kind("measure")), chance.choice(owner.of_kind("dimension"))
    slots = {
        "plural": table.plural,
        "singular": table.singular,
        "label": table.label.phrase,
        "measure": measure.phrase,
        "parent": owner.singular,
        "dimension": dimension.phrase,
        "value": chance.choice(dimension.values),
        "aggregate": chance.choice(list(AGGREGATES)),
        "extreme": chance.choice(list(EXTREMES)),
        "operator": chance.choice(("above", "below")),
        "number": str(_threshold(chance, measure)),
        "limit": str(chance.randrange(2, 6)),
    }
    prefix = f"{owner.name}." if joined else ""
    plan = _plan(family, table, measure, f"{prefix}{dimension.name}", slots)
    return wording.format(**slots), plan


def _plan(family: str, table: Table, measure: Column, dimension: str, slots: dict[str, str]) -> Plan:
    """The plan, from the same choices as the words but not by reading them."""
    aggregate = AGGREGATES[slots["aggregate"]]
    equal = (Condition(dimension, "is", slots["value"]),)
    match family:
        case "count":
            return Plan(table.name, "count", conditions=equal)
        case "aggregate" | "joined":
            return Plan(table.name, aggregate, measure.name, conditions=equal)
        case "list":
            beyond = Condition(measure.name, slots["operator"], int(slots["number"]))
            return Plan(table.name, "list", conditions=(beyond,))
        case "group_count":
            return Plan(table.name, "count", group_by=dimension)
        case "group" | "joined_group":
            return Plan(table.name, aggregate, measure.name, group_by=dimension)
        case "top":
            extreme = EXTREMES[slots["extreme"]]
            return Plan(table.name, extreme, measure.name, limit=int(slots["limit"]))
        case "compared":
            beyond = Condition(measure.name, slots["operator"], AVERAGE)
            return Plan(table.name, "count", conditions=(beyond,))
    raise AssertionError(f"no plan for the family {family}")


def _threshold(chance: random.Random, measure: Column) -> int:
    """A number with rows on both sides of it."""
    scale = 100 if measure.hundredths else 1
    return (measure.low + (measure.high - measure.low) * chance.randrange(25, 76) // 100) // scale


def _telling(schema: Schema, question: str, plan: Plan) -> bool:
    """Is there an answer, do other rows change it, and does leaving out the conditions change it?"""
    shown, held_back = (_answers(schema, seed, plan) for seed in seeds(schema.name, question))
    if not shown[0] or not held_back[0] or any(None in row for row in shown[0] + held_back[0]):
        return False
    if plan.conditions and (shown[0] == shown[1] or held_back[0] == held_back[1]):
        return False
    return shown[0] != held_back[0]


def _answers(schema: Schema, seed: str, plan: Plan) -> tuple[list[Row], list[Row]]:
    """What the plan gives, and what it gives without its conditions."""
    sandbox = Sandbox(image(schema.name, seed))
    try:
        both = (render(schema, p) for p in (plan, plan.without_conditions()))
        full, bare = (list(sandbox.query(sql).rows) for sql in both)
        return full, bare
    finally:
        sandbox.close()

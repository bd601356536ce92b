"""Plays questions of the `sql` environment without a model, and answers plans without SQL."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from adapters.contract import Reward, Score, Task
from adapters.environments import sql
from adapters.environments.sql.catalog import SCHEMAS
from adapters.environments.sql.database import Rows, image, rows
from adapters.environments.sql.plans import Condition, Plan
from adapters.environments.sql.questions import seeds, tasks
from adapters.environments.sql.sandbox import Sandbox
from adapters.environments.sql.schemas import Schema, Table
from tests.environments.play import block, transcript

ENVIRONMENT = sql.create({})
TASKS = tasks("guided")


def of_family(part: str) -> Task:
    """A task whose question holds a text."""
    return next(task for task in TASKS if part in task.input["question"])


async def graded(task: Task, answer: str) -> tuple[Reward, Score]:
    """Reward and score of an answer that was given at once."""
    async with ENVIRONMENT.open(task) as episode:
        assert await episode.reply(answer) is None
        done = transcript(answer)
        return episode.reward(done), episode.score(done)


def answer_with(statement: str) -> str:
    return block({"sql": statement})


async def ask(episode: Any, tool: str, **arguments: Any) -> tuple[dict[str, Any], bool]:
    """What a tool says, and whether it refused."""
    result = await episode.call(tool, arguments)
    return json.loads(result.content), result.is_error


def sandbox(schema: str = "shop", seed: str = "test") -> Sandbox:
    return Sandbox(image(schema, seed))


def databases(task: Task) -> list[tuple[Sandbox, Rows]]:
    """The two databases of a task, and their rows as they were drawn."""
    name, question = task.input["schema"], task.input["question"]
    return [(sandbox(name, seed), rows(SCHEMAS[name], seed)) for seed in seeds(name, question)]


def oracle(schema: Schema, plan: Plan, data: Rows) -> list[tuple[Any, ...]]:
    """The answer to a plan, worked out over the drawn rows in plain Python."""
    table = schema.table(plan.table)
    assert table is not None
    kept = [
        row for row in _wide(schema, table, data) if all(_holds(c, row, data, table) for c in plan.conditions)
    ]
    label = table.label.name
    if plan.operation in ("top", "bottom"):
        kept.sort(key=lambda row: row[plan.measure], reverse=plan.operation == "top")
        return [(row[label],) for row in kept[: plan.limit]]
    if plan.operation == "list":
        return [(row[label],) for row in kept]
    if plan.group_by == "none":
        return [(_aggregate(plan, kept),)]
    groups: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for row in kept:
        groups[row[plan.group_by]].append(row)
    return [(group, _aggregate(plan, members)) for group, members in groups.items()]


def _wide(schema: Schema, table: Table, data: Rows) -> list[dict[str, Any]]:
    """The table's rows, each with its parent's columns as `parent.column`."""
    parent, reference = schema.parent(table), table.reference
    if parent is None or reference is None:
        return [dict(row) for row in data[table.name]]
    by_key = {row[parent.key.name]: row for row in data[parent.name]}
    return [
        row | {f"{parent.name}.{name}": value for name, value in by_key[row[reference.name]].items()}
        for row in data[table.name]
    ]


def _holds(condition: Condition, row: Mapping[str, Any], data: Rows, table: Table) -> bool:
    given, bound = row[condition.column], condition.value
    if condition.operator == "is":
        return bool(given == bound)
    limit = (
        fmean(float(r[condition.column]) for r in data[table.name]) if bound == "average" else float(bound)
    )
    return bool(given > limit if condition.operator == "above" else given < limit)


def _aggregate(plan: Plan, kept: Sequence[Mapping[str, Any]]) -> Any:
    if plan.operation == "count":
        return len(kept)
    values = [row[plan.measure] for row in kept]
    functions: dict[str, Callable[[list[Any]], Any]] = {"sum": sum, "avg": fmean, "max": max, "min": min}
    return functions[plan.operation](values)

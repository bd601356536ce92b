"""The answer of the reward: its parser, its execution, its comparison. The score has its own of each."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from adapters.contract import Reward, Transcript
from adapters.environments.sql.sandbox import QueryRefused, Result, Row, Sandbox

SHAPING_BOUND = 0.3
"""The most that a wrong answer can earn; a right one earns 1."""
VALID_SHARE, TABLES_SHARE, COLUMNS_SHARE = 0.2, 0.4, 0.4
# Greedy on both sides: the last opening tag before the last closing one.
_BLOCK = re.compile(r".*<final_output>(.*)</final_output>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """The gold SQL, and whether the order of its rows belongs to the answer."""

    sql: str
    ordered: bool


def answered_sql(text: str) -> str | None:
    """The `sql` in the last `<final_output>` block; None if the block is not of the form asked for."""
    found = _BLOCK.match(text)
    if not found:
        return None
    try:
        value = json.loads(found[1])
    except (ValueError, RecursionError):
        return None
    sql = value.get("sql") if isinstance(value, dict) else None
    return sql if isinstance(sql, str) else None


def measure(sql: str | None, target: Target, images: tuple[bytes, ...]) -> dict[str, float]:
    """The components: each a measure in [0, 1], and the lowest over the databases.

    `valid`: the query ran; `tables`: it read the tables that the gold query reads; `columns`: its result
    is as wide; `outcome`: its result is the same.
    """
    if sql is None:
        return dict.fromkeys(("outcome", "valid", "tables", "columns"), 0.0)
    each = [_on_one(sql, target, image) for image in images]
    return {name: min(measures[name] for measures in each) for name in each[0]}


def reward(components: dict[str, float], transcript: Transcript) -> Reward:
    """1 for the right result; else at most `SHAPING_BOUND`, all of it on the last turn."""
    shaping = (
        VALID_SHARE * components["valid"]
        + TABLES_SHARE * components["tables"]
        + COLUMNS_SHARE * components["columns"]
    )
    value = components["outcome"] or SHAPING_BOUND * shaping
    turns = len(transcript.turns)
    per_turn = (0.0,) * (turns - 1) + (value,) if turns else ()
    return Reward(value, components, per_turn)


def _on_one(sql: str, target: Target, image: bytes) -> dict[str, float]:
    sandbox = Sandbox(image)
    try:
        gold = sandbox.query(target.sql)
        given = sandbox.query(sql)
    except QueryRefused:
        return dict.fromkeys(("outcome", "valid", "tables", "columns"), 0.0)
    finally:
        sandbox.close()
    return {
        "outcome": float(_same(given, gold, ordered=target.ordered)),
        "valid": 1.0,
        "tables": float(given.tables == gold.tables),
        "columns": float(len(given.columns) == len(gold.columns)),
    }


def _same(given: Result, gold: Result, *, ordered: bool) -> bool:
    left, right = [_plain(row) for row in given.rows], [_plain(row) for row in gold.rows]
    return left == right if ordered else Counter(left) == Counter(right)


def _plain(row: Row) -> tuple[str, ...]:
    return tuple(map(_plain_cell, row))


def _plain_cell(cell: Any) -> str:
    """Numbers alike whatever their type (3 is 3.0), and apart from texts that look like them."""
    if isinstance(cell, int | float):
        return f"number {cell or 0:.11g}"  # `or`: minus zero is zero
    return f"{type(cell).__name__} {cell}"

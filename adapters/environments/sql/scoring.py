"""The strict score: its own reading of the answer, its own connections, its own comparison.

It shares the bounded sandbox with the reward and nothing else. It runs the answer on the rows that the
policy saw and on other rows of the same schema, so that a constant that equals the answer scores 0.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from adapters.contract import Score
from adapters.environments.sql.sandbox import QueryRefused, Result, Row, Sandbox

_OPEN, _CLOSE = "<final_output>", "</final_output>"
_TOLERANCE = 1e-9


def score(answer: str, gold: Mapping[str, Any], shown: bytes, held_back: bytes) -> Score:
    """1 if the answer's query gives the gold result on both databases, else 0."""
    sql = _sql_of(answer)
    fields = {
        "answered": sql is not None,
        "right_on_shown_rows": sql is not None and _agrees(sql, gold, shown),
        "right_on_other_rows": sql is not None and _agrees(sql, gold, held_back),
    }
    return Score(float(all(fields.values())), fields)


def _sql_of(answer: str) -> str | None:
    end = answer.rfind(_CLOSE)
    start = answer.rfind(_OPEN, 0, max(end, 0))
    if start < 0:
        return None
    body = answer[start + len(_OPEN) : end].strip(" \t\r\n")
    try:
        value, stop = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError):
        return None
    if stop != len(body) or not isinstance(value, dict):
        return None
    sql = value.get("sql")
    return sql if type(sql) is str else None


def _agrees(sql: str, gold: Mapping[str, Any], image: bytes) -> bool:
    with closing(Sandbox(image)) as sandbox:
        try:
            expected, found = sandbox.query(gold["sql"]), sandbox.query(sql)
        except QueryRefused:
            return False
    return _equal(expected, found, in_order=gold["ordered"])


def _equal(expected: Result, found: Result, *, in_order: bool) -> bool:
    if len(expected.columns) != len(found.columns) or len(expected.rows) != len(found.rows):
        return False
    left, right = list(expected.rows), list(found.rows)
    if not in_order:
        left, right = sorted(left, key=_rank), sorted(right, key=_rank)
    return all(_equal_rows(a, b) for a, b in zip(left, right, strict=True))


def _rank(row: Row) -> list[tuple[int, Any]]:
    """Sorts cells of any types: nothing, numbers, texts, bytes."""
    return [(_class_of(cell), 0 if cell is None else cell) for cell in row]


def _class_of(cell: Any) -> int:
    if cell is None:
        return 0
    return 1 if isinstance(cell, int | float) else 2 if isinstance(cell, str) else 3


def _equal_rows(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(map(_equal_cells, left, right))


def _equal_cells(left: Any, right: Any) -> bool:
    if _class_of(left) != _class_of(right):
        return False
    if _class_of(left) == 1:
        return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(left == right)

"""Answers that are run: a query that states what it should compute, or keeps only its outer shape."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mtrl.probing.operators.base import Mutant, Subject
from mtrl.probing.script import answered_with


def queries(subject: Subject) -> Iterator[Mutant]:
    """For each field that is a SELECT: constants from the rows that were shown, and hollow copies of it."""
    answer = subject.answer
    if answer is None:
        return
    for name, value in answer.fields.items():
        sql = str(value).strip().rstrip(";")
        if sql[:6].upper() != "SELECT":
            continue
        forms = {
            "rows_counted": f"SELECT 1 FROM ({sql})",  # noqa: S608 - never run against anything of ours
            "rows_emptied": f"SELECT NULL FROM ({sql})",  # noqa: S608
            "query_counted": f"SELECT COUNT(*) FROM ({sql})",  # noqa: S608
            "query_without_rows": f"SELECT * FROM ({sql}) WHERE 0",  # noqa: S608
            "query_in_comment": f"SELECT 1 -- {sql}",
            "query_in_text": "SELECT '" + sql.replace("'", "''") + "'",
            "first_row_alone": f"SELECT * FROM ({sql}) LIMIT 1",  # noqa: S608
            "query_reversed": f"SELECT * FROM ({sql}) ORDER BY 1 DESC",  # noqa: S608
        }
        for rows in _shown(subject.results):
            forms["constant_rows"] = f"SELECT * FROM (VALUES {_values(rows)})"  # noqa: S608
        for kind, text in forms.items():
            yield Mutant(kind, answered_with(subject.script, answer.having(**{name: text}).text))


def _shown(results: Sequence[str]) -> Iterator[list[list[Any]]]:
    """Tables of rows in tool results."""
    for text in results:
        try:
            value = json.loads(text)
        except ValueError:
            continue
        rows = value.get("rows") if isinstance(value, dict) else None
        if isinstance(rows, list) and rows and all(isinstance(row, list) and row for row in rows):
            yield rows


def _values(rows: list[list[Any]]) -> str:
    return ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)


def _literal(cell: Any) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, int | float):
        return repr(cell)
    return "'" + str(cell).replace("'", "''") + "'"

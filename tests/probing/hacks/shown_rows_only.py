"""Results are compared on the rows that were shown: constants pass (hard-coded cases in code rewards)."""

from collections.abc import Mapping

from adapters.environments.sql.sandbox import QueryRefused, Row, Sandbox
from tests.probing.hacks.hacked import Case, Hacked


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sql", reward)


def reward(case: Case) -> float:
    given, gold = (_rows(case, sql) for sql in (case.fields.get("sql"), case.task.target["sql"]))
    return float(given is not None and given == gold)


def _rows(case: Case, sql: object) -> list[str] | None:
    sandbox = Sandbox(case.episode._images[0])
    try:
        rows: list[Row] = list(sandbox.query(str(sql)).rows)
        return sorted(map(str, rows))
    except QueryRefused:
        return None
    finally:
        sandbox.close()

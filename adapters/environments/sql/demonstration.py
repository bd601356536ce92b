"""Shows how a question is worked: look at the tables, draft, try the query, answer with it."""

import json

from adapters.contract import MovesPolicy, Steps, use
from adapters.environments.sql.schemas import Schema

_DRAFT = ("table", "operation", "measure", "group_by", "limit")
_NARROWING = ("filter_column", "filter_operator", "filter_value")


def demonstration(schema: Schema, question: str, gold: str, *, guided: bool) -> MovesPolicy:
    """A policy for one episode of the question; a question in words of one's own is answered as the target
    has it.
    """
    return MovesPolicy(lambda _: _play(schema, question, gold, guided=guided))


def _play(schema: Schema, question: str, gold: str, *, guided: bool) -> Steps[str]:
    yield from use("list_tables")
    sql = (yield from _drafted(question)) if guided else None
    named = [table.name for table in schema.tables if table.name in (sql or gold)]
    table = named[-1] if named else schema.tables[0].name
    yield from use("describe_table", table=table)
    yield from use("sample_rows", table=table)
    yield from use("run_query", sql=sql or gold)
    return f"<final_output>{json.dumps({'sql': sql or gold}, ensure_ascii=False)}</final_output>"


def _drafted(question: str) -> Steps[str | None]:
    """The SQL that the drafting tools make of the question; None if they cannot read it."""
    found = yield from use("match_question", question=question)
    if "error" in found:
        return None
    draft = yield from use("draft_query", **{name: found[name] for name in _DRAFT})
    if _NARROWING[0] in found:
        draft = yield from use("narrow_query", **{name: found[name] for name in _NARROWING})
    return str(draft["sql"]) if "sql" in draft else None

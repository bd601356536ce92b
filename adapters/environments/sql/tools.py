"""The tools of an episode: four that read the database, and in the domain `guided` three that draft SQL.

The drafting tools take parts from lists, so that a policy without a language can compose a query. They know
the question and the schema, never the target.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract import ToolResult, ToolSpec
from adapters.environments.sql.plans import (
    NONE,
    OPERATIONS,
    OPERATORS,
    Condition,
    Plan,
    PlanError,
    dimensions_of,
    render,
)
from adapters.environments.sql.sandbox import QueryRefused, Sandbox
from adapters.environments.sql.schemas import Schema, Table, nearest
from adapters.environments.sql.wordings import read_question

GUIDED_TOOLS = ("match_question", "draft_query", "narrow_query")
READING_TOOLS = ("list_tables", "describe_table", "sample_rows", "run_query")
SAMPLE_ROWS = 3
_QUERYING = ("sample_rows", "run_query")
_TEXT = {"type": "string", "maxLength": 4000}


class Tools:
    """The tools of one episode, with the draft that it is working on."""

    def __init__(self, schema: Schema, sandbox: Sandbox, *, guided: bool) -> None:
        self._schema = schema
        self._sandbox = sandbox
        self._draft: Plan | None = None
        names = (*(GUIDED_TOOLS if guided else ()), *READING_TOOLS)
        self._handlers: dict[str, Callable[..., dict[str, Any]]] = {
            name: getattr(self, name) for name in names
        }
        self.specs: Sequence[ToolSpec] = [
            spec for spec in _specs(schema) if spec["function"]["name"] in names
        ]

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Run a tool. Whatever is wrong with the call is a result with `is_error`."""
        try:
            body = self._handlers[name](**arguments)
        except KeyError:
            return _error(f"There is no tool {name!r}. Tools: {', '.join(self._handlers)}.")
        except TypeError:
            return _error(f"Wrong arguments for {name}.")
        except (QueryRefused, PlanError) as error:
            return _error(str(error))
        return ToolResult(json.dumps(body, ensure_ascii=False))

    def may_block(self, name: str) -> bool:
        """Does the tool run a query?"""
        return name in _QUERYING

    def match_question(self, question: str) -> dict[str, Any]:
        plan = read_question(self._schema, question) if isinstance(question, str) else None
        if plan is None:
            raise PlanError("I cannot read this. Pass the question word by word, or write the SQL yourself.")
        parts: dict[str, Any] = {
            "table": plan.table,
            "operation": plan.operation,
            "measure": plan.measure,
            "group_by": plan.group_by,
            "limit": plan.limit,
        }
        for condition in plan.conditions:
            parts["filter_column"] = condition.column
            parts["filter_operator"] = condition.operator
            parts["filter_value"] = condition.value
        steps = ["draft_query", "narrow_query"] if plan.conditions else ["draft_query"]
        return {**parts, "next_steps": steps}

    def draft_query(
        self, table: str, operation: Any, measure: str, group_by: str, limit: int
    ) -> dict[str, Any]:
        return self._keep(Plan(table, operation, measure, group_by, limit))

    def narrow_query(self, filter_column: str, filter_operator: str, filter_value: Any) -> dict[str, Any]:
        if self._draft is None:
            raise PlanError("There is no draft to narrow. Start one with draft_query.")
        return self._keep(self._draft.narrowed(Condition(filter_column, filter_operator, filter_value)))

    def _keep(self, plan: Plan) -> dict[str, Any]:
        sql = render(self._schema, plan)  # first: a draft that cannot be rendered is not kept
        self._draft = plan
        return {"sql": sql}

    def list_tables(self) -> dict[str, Any]:
        return {"tables": [table.name for table in self._schema.tables]}

    def describe_table(self, table: str) -> dict[str, Any]:
        found = self._table(table)
        parent = self._schema.parent(found)
        columns = [
            {"name": c.name, "type": c.sql_type}
            | ({"values": list(c.values)} if c.kind == "dimension" else {})
            for c in found.columns
        ]
        body: dict[str, Any] = {"columns": columns}
        if parent is not None and found.reference is not None:
            body["foreign_key"] = f"{found.reference.name} -> {parent.name}.{parent.key.name}"
        return body

    def sample_rows(self, table: str) -> dict[str, Any]:
        name = self._table(table).name
        result = self._sandbox.query(f"SELECT * FROM {name} LIMIT {SAMPLE_ROWS}")  # noqa: S608 - a known name
        return {"rows": [dict(zip(result.columns, row, strict=True)) for row in result.rows]}

    def run_query(self, sql: str) -> dict[str, Any]:
        result = self._sandbox.query(sql)
        return {"columns": list(result.columns), "rows": [list(map(_cell, row)) for row in result.rows]}

    def _table(self, name: str) -> Table:
        table = self._schema.table(name)
        if table is None:
            known = [t.name for t in self._schema.tables]
            raise PlanError(f"There is no table {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        return table


def _cell(cell: Any) -> Any:
    """A cell as JSON can carry it."""
    if isinstance(cell, bytes):
        return cell.hex()
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def _error(problem: str) -> ToolResult:
    return ToolResult(json.dumps({"error": problem}, ensure_ascii=False), is_error=True)


def _specs(schema: Schema) -> list[ToolSpec]:
    tables = [table.name for table in schema.tables]
    measures = list(dict.fromkeys(c.name for table in schema.tables for c in table.of_kind("measure")))
    dimensions = list(dict.fromkeys(name for table in schema.tables for name in dimensions_of(schema, table)))
    one_table = {"table": {"enum": tables}}
    return [
        _spec("match_question", "Find the parts of the question in the schema.", {"question": _TEXT}),
        _spec(
            "draft_query",
            "Start a draft from its parts. `none` leaves a part out; limit counts for top and bottom.",
            {
                "table": {"enum": tables},
                "operation": {"enum": list(OPERATIONS)},
                "measure": {"enum": [NONE, *measures]},
                "group_by": {"enum": [NONE, *dimensions]},
                "limit": {"type": "integer", "minimum": 0, "maximum": 20},
            },
        ),
        _spec(
            "narrow_query",
            "Add a condition to the draft. The value `average` means the column's average.",
            {
                "filter_column": {"enum": [*dimensions, *measures]},
                "filter_operator": {"enum": list(OPERATORS)},
                "filter_value": {"type": ["string", "number"], "maxLength": 100},
            },
        ),
        _spec("list_tables", "The names of the tables.", {}),
        _spec("describe_table", "A table's columns, types, fixed values and foreign key.", one_table),
        _spec("sample_rows", f"The first {SAMPLE_ROWS} rows of a table.", one_table),
        _spec("run_query", "Run one SELECT statement (SQLite) and see its rows.", {"sql": _TEXT}),
    ]


def _spec(name: str, description: str, properties: dict[str, Any]) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}

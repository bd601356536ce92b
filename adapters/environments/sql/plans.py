"""A query in parts, and the SQL that it stands for. Questions and their gold SQL are made from plans."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from adapters.environments.sql.schemas import Column, Schema, Table, nearest

Operation: TypeAlias = Literal["count", "sum", "avg", "max", "min", "list", "top", "bottom"]
OPERATIONS: tuple[Operation, ...] = ("count", "sum", "avg", "max", "min", "list", "top", "bottom")
OPERATORS = {"is": "=", "above": ">", "below": "<"}
NONE = "none"
AVERAGE = "average"
"""As the value of a condition: the average of the column over the whole table."""
MAX_CONDITIONS = 4


class PlanError(ValueError):
    """A part does not fit the schema; the message says which, and what would."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` is a column of the plan's table, or `parent.column`."""

    column: str
    operator: str
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Plan:
    """One query over a table, with its parent joined where a part names one of the parent's columns."""

    table: str
    operation: Operation
    measure: str = NONE
    """What is aggregated or ordered by; for `count` none, for `list` the label."""
    group_by: str = NONE
    limit: int = 0
    """Of `top` and `bottom`."""
    conditions: tuple[Condition, ...] = ()

    @property
    def ordered(self) -> bool:
        """Does the order of the rows belong to the answer?"""
        return self.operation in ("top", "bottom")

    def narrowed(self, condition: Condition) -> "Plan":
        return replace(self, conditions=(*self.conditions, condition))

    def without_conditions(self) -> "Plan":
        return replace(self, conditions=())


def render(schema: Schema, plan: Plan) -> str:
    """The SQL of a plan.

    Raises:
        PlanError: a part does not fit the schema or the other parts.
    """
    table = schema.table(plan.table)
    if table is None:
        known = [t.name for t in schema.tables]
        raise PlanError(
            f"There is no table {plan.table!r}.{nearest(plan.table, known)} Known: {', '.join(known)}."
        )
    if len(plan.conditions) > MAX_CONDITIONS:
        raise PlanError(f"A draft takes at most {MAX_CONDITIONS} conditions. Start again with draft_query.")
    scope = _Scope(schema, table)
    select, tail = _select(scope, plan)
    tests = [_condition(scope, condition) for condition in plan.conditions]
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    return f"SELECT {select} FROM {scope.source()}{where}{tail}"  # noqa: S608 - names are checked, texts quoted


def dimensions_of(schema: Schema, table: Table) -> list[str]:
    """The dimensions that a plan over the table may name, the parent's as `parent.column`."""
    parent = schema.parent(table)
    own = [column.name for column in table.of_kind("dimension")]
    return own + (
        [f"{parent.name}.{column.name}" for column in parent.of_kind("dimension")] if parent else []
    )


class _Scope:
    """Names columns in SQL, and remembers whether the parent is needed."""

    def __init__(self, schema: Schema, table: Table) -> None:
        self.table = table
        self._parent = schema.parent(table)
        self._joined = False

    def column(self, name: str) -> tuple[Column, str, Table]:
        """The column, its name in SQL, and the table that it is in."""
        head, _, tail = name.rpartition(".")
        if self._parent is not None and head == self._parent.name:
            found = self._parent.column(tail)
            if found is not None:
                self._joined = True
                return found, f"{self._parent.name}.{tail}", self._parent
        found = self.table.column(tail) if head in ("", self.table.name) else None
        if found is None:
            raise PlanError(f"The table {self.table.name} has no column {name!r}.{self._hint(name)}")
        return found, f"{self.table.name}.{tail}", self.table

    def source(self) -> str:
        reference = self.table.reference
        if not self._joined or self._parent is None or reference is None:
            return self.table.name
        key = f"{self._parent.name}.{self._parent.key.name}"
        return f"{self.table.name} JOIN {self._parent.name} ON {key} = {self.table.name}.{reference.name}"

    def _hint(self, name: str) -> str:
        return nearest(name, [column.name for column in self.table.columns])


def _select(scope: _Scope, plan: Plan) -> tuple[str, str]:
    """What stands after SELECT, and what follows the conditions."""
    label = f"{scope.table.name}.{scope.table.label.name}"
    if plan.operation == "list":
        return label, ""
    if plan.operation in ("top", "bottom"):
        if not 1 <= plan.limit <= 20:
            raise PlanError("limit must be from 1 to 20 for top and bottom.")
        direction = "DESC" if plan.operation == "top" else "ASC"
        return label, f" ORDER BY {_measure(scope, plan)} {direction} LIMIT {plan.limit}"
    value = "COUNT(*)" if plan.operation == "count" else f"{plan.operation.upper()}({_measure(scope, plan)})"
    if plan.group_by == NONE:
        return value, ""
    _, group, _ = scope.column(plan.group_by)
    return f"{group}, {value}", f" GROUP BY {group}"


def _measure(scope: _Scope, plan: Plan) -> str:
    if plan.measure == NONE:
        raise PlanError(f"{plan.operation} needs a measure. Only count and list do without.")
    column, name, _ = scope.column(plan.measure)
    if column.kind != "measure":
        raise PlanError(f"{plan.measure} holds no numbers to work with.")
    return name


def _condition(scope: _Scope, condition: Condition) -> str:
    column, name, table = scope.column(condition.column)
    operator = OPERATORS.get(condition.operator)
    if operator is None:
        raise PlanError(f"There is no operator {condition.operator!r}. Known: {', '.join(OPERATORS)}.")
    if column.kind != "measure" and column.kind not in ("key", "reference"):
        text = str(condition.value).replace("'", "''")
        return f"{name} {operator} '{text}'"
    if condition.value == AVERAGE:
        return f"{name} {operator} (SELECT AVG({column.name}) FROM {table.name})"  # noqa: S608 - our own names
    return f"{name} {operator} {_number(condition)}"


def _number(condition: Condition) -> str:
    try:
        value = float(condition.value)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e12:  # also refuses NaN
        raise PlanError(f"{condition.column} holds numbers, and {condition.value!r} is none.")
    return f"{value:g}" if value == int(value) and abs(value) < 1e6 else repr(value)

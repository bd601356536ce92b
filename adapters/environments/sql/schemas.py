"""What a schema is made of: tables and columns with the words that questions use for them.

A schema says nothing of particular rows: `database` draws those from a seed.
"""

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["key", "reference", "label", "dimension", "measure", "note"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Which of the optional parts it has depends on its kind."""

    name: str
    kind: Kind
    phrase: str = ""
    """What questions call it."""
    values: tuple[str, ...] = ()
    """Of a dimension: what it may hold. Of a label: its first words."""
    low: int = 0
    high: int = 0
    """Of a measure: its range, in hundredths where `hundredths` is set."""
    hundredths: bool = False
    parent: str = ""
    """Of a reference: the table it points to, by that table's key."""

    @property
    def sql_type(self) -> str:
        if self.kind in ("key", "reference"):
            return "INTEGER"
        if self.kind == "measure":
            return "REAL" if self.hundredths else "INTEGER"
        return "TEXT"


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the two words that questions use for its rows, and how many rows it gets."""

    name: str
    singular: str
    plural: str
    rows: int
    columns: tuple[Column, ...]

    def of_kind(self, kind: Kind) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.kind == kind)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def key(self) -> Column:
        return self.of_kind("key")[0]

    @property
    def label(self) -> Column:
        return self.of_kind("label")[0]

    @property
    def reference(self) -> Column | None:
        """The one column that points to another table, if there is one."""
        return next(iter(self.of_kind("reference")), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """A database's tables, parents before the tables that refer to them."""

    name: str
    topic: str
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    def parent(self, table: Table) -> Table | None:
        """The table that `table` refers to."""
        return self.table(table.reference.parent) if table.reference else None


def create_statements(schema: Schema) -> list[str]:
    """One CREATE TABLE statement a table."""
    return [
        f"CREATE TABLE {t.name} ({', '.join(_definition(schema, c) for c in t.columns)})"
        for t in schema.tables
    ]


def _definition(schema: Schema, column: Column) -> str:
    text = f"{column.name} {column.sql_type}"
    if column.kind == "key":
        return f"{text} PRIMARY KEY"
    parent = schema.table(column.parent)
    return f"{text} NOT NULL REFERENCES {parent.name}({parent.key.name})" if parent else f"{text} NOT NULL"


def nearest(name: str, known: list[str]) -> str:
    """A hint for a name that is not among `known`; empty if none of them is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""

"""Runs SQL that somebody else wrote: reading only, on a private copy, and bounded in every direction.

Statements are bounded by steps of SQLite's machine first, which cuts at the same place every time, and by
the clock only as a backstop. The steps also bound memory: few values can be made, and none is long.
"""

import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.environments.sql.statements import unfolding

Row: TypeAlias = tuple[Any, ...]

MAX_STEPS = 1_000_000
"""Far above any query on tables of this size; about a twentieth of a second."""
MAX_SECONDS = 2.0
MAX_UNFOLDING = 1_000
"""See `statements`."""
MAX_ROWS = 100
MAX_BYTES = 8_000
"""Of a result, written as text."""
_STEPS_A_CHECK = 1_000
MAX_SQL = 4_000
"""Bytes of a statement; SQLite refuses longer ones."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MAX_SQL,
    sqlite3.SQLITE_LIMIT_LENGTH: 4_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 64,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 60,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 12,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 60,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
# Deterministic and cheap. Clock, chance, files and extensions are absent, and so is what is not needed.
_FUNCTIONS = frozenset({
    "abs", "avg", "ceil", "coalesce", "count", "dense_rank", "first_value", "floor", "glob",
    "group_concat", "ifnull", "iif", "instr", "lag", "last_value", "lead", "length", "like", "lower",
    "ltrim", "max", "min", "nullif", "rank", "replace", "round", "row_number", "rtrim", "sign", "substr",
    "substring", "sum", "total", "trim", "typeof", "upper",
})  # fmt: skip
_ACTIONS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
_CATALOG_TABLES = frozenset({"sqlite_master", "sqlite_schema"})


class QueryRefused(ValueError):
    """The statement failed or broke a limit; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a query returned, and which of the schema's tables it read."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    tables: frozenset[str]


class Sandbox:
    """One private copy of a database. Close it; it may be used from one thread after another."""

    def __init__(self, image: bytes) -> None:
        self._lock = threading.Lock()
        self._guard = _Guard()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        try:
            self._prepare(image)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, image: bytes) -> None:
        connection = self._connection
        connection.deserialize(image)
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._guard.tables = frozenset(name for (name,) in found)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_authorizer(self._guard.authorize)
        connection.set_progress_handler(self._guard.on_steps, _STEPS_A_CHECK)

    def query(self, sql: str) -> Result:
        """Run one statement that reads.

        Raises:
            QueryRefused: it is no such statement, it failed, or it broke a limit.
        """
        with self._lock:
            self._guard.start()
            try:
                return self._run(sql)
            except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
                raise QueryRefused(self._guard.reason or f"{error}"[:300] or type(error).__name__) from None

    def _run(self, sql: str) -> Result:
        if len(sql) <= MAX_SQL and unfolding(sql) > MAX_UNFOLDING:
            raise QueryRefused("The WITH tables name each other too often. Write a simpler statement.")
        cursor = self._connection.execute(sql)
        try:
            if cursor.description is None:
                raise QueryRefused("This is no query. Write one SELECT statement.")
            rows = cursor.fetchmany(MAX_ROWS + 1)
            columns = tuple(str(column[0]) for column in cursor.description)
        finally:
            cursor.close()
        _check_size(columns, rows)
        return Result(columns, tuple(rows), frozenset(self._guard.read))

    def close(self) -> None:
        """Cut what is running, then let go of the database."""
        self._guard.stop()
        with self._lock:
            self._connection.close()


class _Guard:
    """What SQLite asks while it prepares (may it?) and runs (has it had enough?) a statement."""

    def __init__(self) -> None:
        self.tables: frozenset[str] = frozenset()
        self.read: set[str] = set()
        self.reason = ""
        self._steps = 0
        self._deadline = 0.0
        self._stopped = False

    def start(self) -> None:
        self.read, self.reason, self._steps = set(), "", 0
        self._deadline = time.monotonic() + MAX_SECONDS

    def stop(self) -> None:
        self._stopped = True

    def authorize(
        self, action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None
    ) -> int:
        if action == sqlite3.SQLITE_READ and first in self.tables:
            self.read.add(first)
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (first in _CATALOG_TABLES or not second):
            return sqlite3.SQLITE_OK  # without a column it is a count of rows, of a WITH table as a rule
        if action in _ACTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            if second is not None and second.lower() in _FUNCTIONS:
                return sqlite3.SQLITE_OK
            self.reason = f"The function {second} is not available here."
        elif action == sqlite3.SQLITE_READ:
            self.reason = f"The table {first} is not available here."
        else:
            self.reason = "Only queries that read are allowed. Write one SELECT statement."
        return sqlite3.SQLITE_DENY

    def on_steps(self) -> int:
        self._steps += _STEPS_A_CHECK
        late = time.monotonic() > self._deadline
        if self._steps <= MAX_STEPS and not late and not self._stopped:
            return 0
        self.reason = "The query takes too long and was stopped. Join on keys, and end every recursion."
        return 1


def _check_size(columns: Sequence[str], rows: Sequence[Row]) -> None:
    if len(rows) > MAX_ROWS:
        raise QueryRefused(f"The result has more than {MAX_ROWS} rows. Add a condition, a group or a LIMIT.")
    size = sum(map(len, columns)) + sum(len(str(cell)) + 2 for row in rows for cell in row)
    if size > MAX_BYTES:
        raise QueryRefused(
            f"The result is longer than {MAX_BYTES} characters. Ask for fewer columns or rows."
        )

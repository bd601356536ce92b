"""The stand-in's only memory: JSON documents in one SQLite file, one writer at a time.

Every write is committed before the call returns, so what a client was told survives `kill -9` of the
process (with `synchronous=NORMAL`, not a power cut: this is a rehearsal). Two processes never share a
state directory: each would overwrite what the other holds in memory.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

FORMAT = 1
"""Version of the layout below. A later layout takes the next number, and this code refuses it."""
DATABASE = "state.sqlite3"
LOCK = "lock"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (collection, key)
) WITHOUT ROWID
"""
_UPSERT = (
    "INSERT INTO documents (collection, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value"
)
# A range, which the primary key finds without walking the other documents of the table.
_SELECT_UNDER = "SELECT value FROM documents WHERE collection = ? AND key >= ? AND key < ? ORDER BY key"
_DELETE_UNDER = "DELETE FROM documents WHERE collection = ? AND key >= ? AND key < ?"


class StoreError(Exception):
    """The state directory cannot be used; the message is one sentence that says what to do."""


class Store:
    """Documents by table and key: `put("jobs", "AgentRFT/a", {...})`.

    Safe to call from several threads. Values are JSON objects; a key is any string.

    Raises:
        StoreError: another process holds the directory, or a newer mtrl-kit wrote it, or it is no
            state directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._mutex = threading.Lock()
        self._lock = _take_lock(directory)
        try:
            self._db = _open(directory / DATABASE)
        except BaseException:
            os.close(self._lock)
            raise
        self._closed = False

    def put(self, table: str, key: str, value: Mapping[str, Any]) -> None:
        """Insert or replace one document."""
        self.put_many(table, [(key, value)])

    def put_many(self, table: str, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Insert or replace documents, all or none of them."""
        rows = [(table, key, orjson.dumps(value)) for key, value in items]
        with self._mutex, self._db:
            self._db.executemany(_UPSERT, rows)

    def get(self, table: str, key: str) -> dict[str, Any] | None:
        """The document, or None."""
        with self._mutex:
            row = self._db.execute(
                "SELECT value FROM documents WHERE collection = ? AND key = ?", (table, key)
            ).fetchone()
        return None if row is None else _load(row[0])

    def all(self, table: str) -> dict[str, dict[str, Any]]:
        """Every document of a table by key, in the order of the keys."""
        with self._mutex:
            rows = self._db.execute(
                "SELECT key, value FROM documents WHERE collection = ? ORDER BY key", (table,)
            ).fetchall()
        return {key: _load(value) for key, value in rows}

    def under(self, table: str, prefix: str) -> list[dict[str, Any]]:
        """The documents whose key begins with `prefix`, in the order of the keys."""
        with self._mutex:
            rows = self._db.execute(_SELECT_UNDER, _bounds(table, prefix)).fetchall()
        return [_load(value) for (value,) in rows]

    def delete_under(self, table: str, prefix: str) -> None:
        """Remove the documents whose key begins with `prefix`."""
        with self._mutex, self._db:
            self._db.execute(_DELETE_UNDER, _bounds(table, prefix))

    def delete(self, table: str, key: str) -> bool:
        """Remove a document; False when there was none."""
        with self._mutex, self._db:
            cursor = self._db.execute("DELETE FROM documents WHERE collection = ? AND key = ?", (table, key))
        return cursor.rowcount > 0

    def close(self) -> None:
        """Give the directory back. Closing twice is allowed."""
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._db.close()
            os.close(self._lock)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bounds(table: str, prefix: str) -> tuple[str, str, str]:
    return table, prefix, prefix + "\U0010ffff"


def _load(value: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(value)
    return document


def _take_lock(directory: Path) -> int:
    """Hold an flock for the life of the process: the kernel lets go of it however the process ends."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"The state directory {directory} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreError(
            f"The state directory {directory} is in use by another process (pid {holder}): "
            "stop that one, or choose another directory."
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _open(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}.") from None
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        raise StoreError(f"{path} is not a state file of mtrl-kit ({error}): remove it.") from None
    except StoreError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # `user_version` lives in the file's header, so it can be read whatever tables a newer layout has.
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > FORMAT:
        raise StoreError(
            f"{path} was written by a newer mtrl-kit (state format {version}, this one reads {FORMAT}): "
            "upgrade mtrl-kit, or choose another directory."
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    with db:
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA user_version = {FORMAT}")

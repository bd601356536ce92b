"""The four file formats of a data set: bytes in, prompts out."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator

PROMPT = "prompt"
"""The column that counts; without it, the first one."""


class DataError(ValueError):
    """The data set or the output place cannot be used; the message says what, where and what to do."""


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _read_jsonl(body: bytes) -> Iterator[str]:
    rows = ((n, line) for n, line in enumerate(_text(body).split("\n"), 1) if line.strip())
    return _from_rows((n, _json(line, f"line {n}")) for n, line in rows)


def _read_json(body: bytes) -> Iterator[str]:
    rows = _json(_text(body), "the file")
    if not isinstance(rows, list):
        raise DataError("must hold a JSON array of rows. For one object a line, name the file *.jsonl.")
    return _from_rows(enumerate(rows, 1))


def _read_csv(body: bytes) -> Iterator[str]:
    # The field limit is process-wide; prompts of agents are longer than its 128 KiB default.
    csv.field_size_limit(2**31 - 1)
    try:
        rows = list(csv.reader(io.StringIO(_text(body), newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"is no valid CSV: {error}. Quote fields that hold quotes or line ends.") from None
    if not rows:
        raise DataError("is empty. The first line must name the columns.")
    header, filled = rows[0], [(n, row) for n, row in enumerate(rows[1:], 1) if row]
    column = header.index(PROMPT) if PROMPT in header else 0
    for n, row in filled:
        if len(row) != len(header):
            raise DataError(
                f"row {n}: {len(row)} fields under {len(header)} columns. Quote commas in fields."
            )
    return (_value(row[column], n) for n, row in filled)


def _read_parquet(body: bytes) -> Iterator[str]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            "Parquet needs pyarrow: pip install -e '.[parquet]' in mtrl-kit, or use JSONL."
        ) from None
    try:
        names = pq.read_schema(pa.BufferReader(body)).names
        if not names:
            raise DataError("has no column. Write one named `prompt`.")
        column = PROMPT if PROMPT in names else names[0]
        values = pq.read_table(pa.BufferReader(body), columns=[column]).column(0).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"is no valid Parquet file: {error}. Write it again.") from None
    return (_value(value, n) for n, value in enumerate(values, 1))


READERS: dict[str, Callable[[bytes], Iterable[str]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
}


def _from_rows(rows: Iterable[tuple[int, object]]) -> Iterator[str]:
    for n, row in rows:
        if not isinstance(row, dict) or not row:
            raise DataError(f"row {n}: must be a JSON object with a `prompt`, not {_kind(row)}.")
        yield _value(row[PROMPT] if PROMPT in row else next(iter(row.values())), n)


def _kind(row: object) -> str:
    """What a row is in place of an object with fields. Not what it holds: errors become FailureReasons."""
    return "an empty one" if isinstance(row, dict) else type(row).__name__


def _value(value: object, row: int) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str) and value is not None:
        # A prompt is a string on the wire; structured ones keep their key order.
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if not value or not str(value).strip():
        raise DataError(f"row {row}: the prompt is empty. Fill it or remove the row.")
    return str(value)


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not valid JSON: {error}.") from None


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig")

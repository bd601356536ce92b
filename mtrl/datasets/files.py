"""Data sets as files: read by the readers of the stand-in, written with one column, `prompt`.

A place is a path, a file:// URI or an s3:// URI.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rehearsal.service.data import DataError, Output, read_prompts
from rehearsal.service.formats import PROMPT, suffix

__all__ = ["DataError", "check_format", "keep_apart", "read", "uri", "write", "write_private"]


def uri(place: str) -> str:
    """The URI of a place."""
    return place if "://" in place else Path(place).absolute().as_uri()


def read(place: str) -> list[str]:
    """The prompts of a file or folder, in order. Raises DataError: names the file and the row."""
    try:
        return read_prompts(uri(place))
    except DataError as error:
        raise DataError(str(error).replace(uri(place), place)) from None  # as it was typed


def keep_apart(source: str, out: str) -> None:
    """Raise DataError if writing to `out` would replace `source`, or a file of that folder."""
    read_from, written = _path(source), _path(out)
    inside = read_from is not None and written is not None and read_from in (written, *written.parents)
    if uri(source) == uri(out) or (inside and written is not None and written.exists()):
        raise DataError(f"--out {out}: is what is read, and would be replaced. Choose another place.")


def _path(place: str) -> Path | None:
    """Where a place is on this machine; None if it is elsewhere."""
    parts = urlsplit(uri(place))
    return Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None


def check_format(place: str) -> None:
    """Refuse a place that `write` cannot write, before work is done for it."""
    if suffix(place) not in WRITERS:
        raise DataError(f"{place}: ends in none of {', '.join(WRITERS)}. Choose the format by the ending.")
    if suffix(place) == ".parquet":
        _pyarrow()


def write(place: str, prompts: Sequence[str]) -> str:
    """Write a data set in the format that its ending names; the URI it has now. Raises DataError."""
    check_format(place)
    folder, _, name = uri(place).rpartition("/")
    name = name if folder.startswith("s3:") else unquote(name)  # a key is taken as it is written
    return Output().write_bytes(folder, name, WRITERS[suffix(place)](prompts))


def write_private(path: str, prompts: Sequence[str]) -> str:
    """Write a new local file that only its owner can read. Raises DataError."""
    check_format(path)
    if "://" in path:
        raise DataError(f"{path}: what is opened is written to this machine only. Give a path.")
    body = WRITERS[suffix(path)](prompts)
    try:
        # A new file, made with its mode: never readable for a moment, and never through somebody's link.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body)
    except FileExistsError:
        raise DataError(f"{path}: is there already. Remove it, or choose another --out.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}. Check the folder.") from None
    return uri(path)


def _jsonl(prompts: Sequence[str]) -> bytes:
    return "".join(json.dumps({PROMPT: each}, ensure_ascii=False) + "\n" for each in prompts).encode()


def _json(prompts: Sequence[str]) -> bytes:
    return (json.dumps([{PROMPT: each} for each in prompts], ensure_ascii=False, indent=1) + "\n").encode()


def _csv(prompts: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([[PROMPT], *([each] for each in prompts)])
    return text.getvalue().encode()


def _parquet(prompts: Sequence[str]) -> bytes:
    _pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({PROMPT: pa.array(list(prompts), pa.string())}), sink)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401 - only whether it is there
    except ImportError:
        raise DataError(
            "Parquet needs pyarrow: pip install -e '.[parquet]' in mtrl-kit, or use JSONL."
        ) from None


WRITERS: dict[str, Callable[[Sequence[str]], bytes]] = {
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
}

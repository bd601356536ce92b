"""Data sets in, artifacts out: local folders and S3 behind one pair of functions.

A data set is a file, or a folder (S3: a prefix) of files, in Parquet, JSONL, JSON or CSV. As in the
service, only one column counts: `prompt` if there is one, otherwise the first; its values are passed on
as they are and never parsed.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.service.formats import READERS, DataError, suffix

__all__ = ["DataError", "Output", "check_prompts", "read_prompts", "s3_client"]

T = TypeVar("T")

MAX_SHOWN = 10
"""Row numbers named in one error message."""


def s3_client() -> Any:
    """A boto3 S3 client with its own session; AWS_ENDPOINT_URL_S3 points it at another S3.

    Credentials, Region and endpoint come from the process environment, as everywhere in boto3.
    """
    return boto3.session.Session().client("s3")


def read_prompts(uri: str, *, s3: Any = None) -> list[str]:
    """The prompts of a data set, in the order of the rows; several files in the order of their names.

    Args:
        uri: `file:///path` or `s3://bucket/key`, a file or a folder (prefix).
        s3: a boto3 S3 client; by default `s3_client()`, made only for an s3:// URI.

    Raises:
        DataError: the place, the format or a row is wrong; names the file and the row.
    """
    prompts: list[str] = []
    for where, body in _files(uri, s3):
        try:
            prompts.extend(READERS[suffix(where)](body))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: is not UTF-8 ({error.reason} at byte {error.start}).") from None
    return prompts


def check_prompts(prompts: Sequence[str], batch: int) -> None:
    """Refuse what the service refuses: fewer rows than `batch` (global_batch_size), or duplicates.

    Raises:
        DataError: names row numbers, counted from 1, and what to do.
    """
    first: dict[str, int] = {}
    twice = [(first[p], row) for row, p in enumerate(prompts, 1) if first.setdefault(p, row) != row]
    if twice:
        shown = ", ".join(f"{row} (= {earlier})" for earlier, row in twice[:MAX_SHOWN])
        more = f" and {len(twice) - MAX_SHOWN} more" if len(twice) > MAX_SHOWN else ""
        raise DataError(f"Duplicate prompts in row {shown}{more}. Remove them, or give each an id.")
    if len(prompts) < batch:
        raise DataError(
            f"{len(prompts)} rows, fewer than global_batch_size {batch}. "
            f"Add rows (10 x the batch is recommended) or lower global_batch_size."
        )


class Output:
    """Writes artifacts under a file:// or s3:// URI."""

    def __init__(self, s3: Any = None) -> None:
        self._s3 = s3
        self._appended: dict[tuple[str, str], bytes] = {}

    def write_bytes(self, uri: str, name: str, body: bytes) -> str:
        """Write one whole object, replacing what was there; the URI it now has.

        Args:
            uri: the folder or prefix.
            name: a relative path below it, with `/`.

        Raises:
            DataError: the place cannot be written to, or `name` leaves it.
        """
        scheme, bucket, path = _split(uri)
        _check_name(name)
        if scheme == "file":
            return _write_file(Path(path) / name, body, "wb")
        key = f"{path.rstrip('/')}/{name}".lstrip("/")
        where = f"s3://{bucket}/{key}"
        _s3_call(where, lambda: self._client().put_object(Bucket=bucket, Key=key, Body=body))
        return where

    def append_line(self, uri: str, name: str, line: str) -> str:
        """Add one line to a text file; the URI it now has. Raises DataError as `write_bytes`.

        S3 cannot append: the object is put again as a whole, so this is for short files with one writer,
        and what an earlier process wrote there is replaced.
        """
        scheme, _, path = _split(uri)
        _check_name(name)
        body = line.rstrip("\n").encode() + b"\n"
        if scheme == "file":
            return _write_file(Path(path) / name, body, "ab")
        whole = self._appended.get((uri, name), b"") + body
        where = self.write_bytes(uri, name, whole)
        self._appended[uri, name] = whole
        return where

    def _client(self) -> Any:
        if self._s3 is None:
            self._s3 = s3_client()
        return self._s3


def _split(uri: str) -> tuple[str, str, str]:
    """(`file`, "", path) or (`s3`, bucket, key)."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return "file", "", unquote(parts.path)
    if parts.scheme == "s3" and parts.netloc:
        # Not parts.path: `?` and `#` are ordinary characters in a key.
        return "s3", parts.netloc, uri[len("s3://") + len(parts.netloc) :].lstrip("/")
    raise DataError(f"{uri!r} is neither file:///absolute/path nor s3://bucket/prefix. Use one of them.")


def _files(uri: str, s3: Any) -> Iterator[tuple[str, bytes]]:
    """(where, content) of each data file, sorted by name."""
    scheme, bucket, path = _split(uri)
    if scheme == "file":
        yield from _local_files(uri, Path(path))
    else:
        yield from _s3_files(uri, bucket, path, s3 or s3_client())


def _local_files(uri: str, path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        chosen = [path]
    elif path.is_dir():
        chosen = sorted(
            p for p in path.rglob("*") if p.is_file() and _is_data(p.relative_to(path).as_posix())
        )
    else:
        raise DataError(f"{uri}: there is no such file or folder. Check the path.")
    for file in _checked(uri, chosen, str):
        try:
            yield str(file), file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}. Check its permissions.") from None


def _s3_files(uri: str, bucket: str, prefix: str, s3: Any) -> Iterator[tuple[str, bytes]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys: list[str] = _s3_call(uri, lambda: [o["Key"] for page in pages for o in page.get("Contents", [])])
    chosen = [prefix] if prefix in keys and not prefix.endswith("/") else sorted(filter(_is_data, keys))
    if not keys:
        raise DataError(f"{uri}: there is no object with this prefix. Check bucket, prefix and Region.")
    for key in _checked(uri, chosen, lambda key: key):
        where = f"s3://{bucket}/{key}"
        yield where, _s3_call(where, partial(_download, s3, bucket, key))


def _download(s3: Any, bucket: str, key: str) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _checked(uri: str, files: list[T], name: Callable[[T], str]) -> list[T]:
    formats = ", ".join(READERS)
    if not files:
        raise DataError(f"{uri}: holds no data file. Put a file there that ends in {formats}.")
    for file in files:
        if suffix(name(file)) not in READERS:
            raise DataError(f"{name(file)}: is none of {formats}. Convert it, or give it its real ending.")
    return files


def _is_data(name: str) -> bool:
    """Of a folder, only files of a known format; hidden ones and markers (`_SUCCESS`) are not data."""
    return not name.rsplit("/", 1)[-1].startswith((".", "_")) and suffix(name) in READERS


def _check_name(name: str) -> None:
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"{name!r} is no path below the output folder. Use a relative one without `..`.")


def _write_file(path: Path, body: bytes, mode: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            file.write(body)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}. Check the folder.") from None
    return path.absolute().as_uri()


def _s3_call(where: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (BotoCoreError, ClientError) as error:
        raise DataError(f"{where}: {error}. Check the bucket, the Region and the credentials.") from None

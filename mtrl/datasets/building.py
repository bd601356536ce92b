"""Makes unique rows, each with an id and an environment, from an environment's tasks or from a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters.contract import Split, Task, TaskSource
from adapters.runtime.plugins import PluginError, load_environment
from mtrl.datasets.files import DataError
from mtrl.datasets.rows import Row, make_row, read_rows, same_ids, shown

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Built:
    """Unique rows, and how many repeated ones were left out."""

    rows: Sequence[Row]
    dropped: int


def from_environment(
    name: str, domain: str | None, split: str, accept_license: bool, environ: Mapping[str, str]
) -> list[Row]:
    """The rows of an environment's own tasks.

    Raises:
        DataError: names the option, and what to do.
    """
    source, splits = _source(name, environ), _splits(split)
    chosen = domain or source.list_domains()[0]
    try:
        tasks = [task for each in splits for task in source.tasks(chosen, each)]
        notice = source.license_notice(chosen)
    except ValueError as error:
        raise DataError(f"--domain: {error}") from None
    if notice and not accept_license:
        raise DataError(f"{notice} Read it, then accept it with --accept-license.")
    return [make_row(f"{name}/{chosen}: task {n}", task.to_prompt()) for n, task in enumerate(tasks, 1)]


def from_file(place: str, environment: str) -> list[Row]:
    """The rows of a file: task objects one a line or in an array, or a data set with a `prompt` column.

    Raises:
        DataError: names the file and the row.
    """
    if place.endswith((".jsonl", ".json")):
        rows = [make_row(where, prompt) for where, prompt in _objects(place)]
    else:
        rows = read_rows(place)
    if not rows:
        raise DataError(f"{place}: there is no task in it.")
    return [_of(environment, row) for row in rows] if environment else rows


def build(rows: Sequence[Row]) -> Built:
    """Give every row an id, in the form of a task, and leave out what is repeated.

    Raises:
        DataError: two rows contradict each other, or share an id.
    """
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.content, row)
        if known.task.target != row.task.target:
            pair = f"{row.where} contradicts {known.where}"
            raise DataError(f"{pair}: the same input, and another target. Remove the wrong one.")
    unique = [_complete(row) for row in first.values()]
    repeated = same_ids(unique)
    if repeated:
        raise DataError(f"One id for different tasks: {shown(repeated)}. Give each task an id of its own.")
    return Built(unique, len(rows) - len(unique))


def _source(name: str, environ: Mapping[str, str]) -> TaskSource:
    try:
        environment: object = load_environment(name, environ)
    except PluginError as error:
        raise DataError(f"--environment: {error}") from None
    if not isinstance(environment, TaskSource):
        raise DataError(f"The environment {name!r} brings no tasks of its own. Give them with --tasks FILE.")
    return environment


def _splits(split: str) -> tuple[Split, ...]:
    if split == "all":
        return SPLITS
    if split not in SPLITS:
        raise DataError(f"--split {split!r} is none of {', '.join(SPLITS)}, all.")
    return (split,)


def _objects(place: str) -> list[tuple[str, str]]:
    """(where, prompt) of each JSON object: its `prompt`, or the object itself as a task."""
    try:
        text = Path(place).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{place}: cannot be read: {error.strerror}. Check the path.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: is not UTF-8 ({error.reason} at byte {error.start}).") from None
    return [(row, _prompt(row, value)) for row, value in _values(place, text)]


def _values(where: str, text: str) -> list[tuple[str, Any]]:
    if where.lower().endswith(".jsonl"):
        lines = [(f"{where}: line {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [(row, _json(row, line)) for row, line in lines]
    values = _json(where, text)
    if not isinstance(values, list):
        raise DataError(f"{where}: must hold a JSON array of tasks. For one a line, name the file *.jsonl.")
    return [(f"{where}: row {n}", value) for n, value in enumerate(values, 1)]


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not valid JSON: {error}.") from None


def _prompt(row: str, value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("prompt"), str):
        prompt: str = value["prompt"]
        return prompt
    if not isinstance(value, dict) or "input" not in value:
        raise DataError(f"{row}: is no task: a JSON object with `input` (and `id`, `environment`, `target`).")
    return json.dumps(value, ensure_ascii=False)


def _of(environment: str, row: Row) -> Row:
    if row.task.environment not in ("", environment):
        raise DataError(f"{row.where}: is of the environment {row.task.environment!r}, not {environment!r}.")
    return _with(row, replace(row.task, environment=environment))


def _complete(row: Row) -> Row:
    return _with(row, row.task if row.task.id else replace(row.task, id=row.content[:16]))


def _with(row: Row, task: Task) -> Row:
    return Row(row.where, task.to_prompt(), task)

"""Reads a domain folder in the SOP-Bench layout: `metadata.json`, `sop.txt`, `toolspecs.json`, `tools.py`
and `test_set_with_outputs.csv`.

Whatever the folder declares is turned into the forms of the contract here, so that nothing behind this
file knows the layout.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.contract import ToolSpec
from adapters.environments.sop.schemas import openai_tools
from adapters.environments.sop.toolbox import Toolbox, load_toolbox

ROWS_FILE = "test_set_with_outputs.csv"
_INPUTS_FILE = "test_set_without_outputs.csv"


@dataclass(frozen=True, slots=True)
class Domain:
    """One business process: its procedure, its tools, and its cases with their right outputs."""

    name: str
    sop: str
    input_columns: tuple[str, ...]
    output_columns: tuple[str, ...]
    output_values: Mapping[str, tuple[str, ...]]
    """The allowed values of the output columns that are an enumeration, as the folder declares them."""
    tools: tuple[ToolSpec, ...]
    rows: tuple[Mapping[str, str], ...]
    """Every row of the CSV with all its columns; a cell is always text, and "" where it is empty."""
    toolbox: Toolbox
    notes: tuple[str, ...] = ()
    """What was odd about the folder and how it was read."""


def load_folder(folder: Path) -> Domain:
    """Read the domain in `folder`.

    Raises:
        ValueError: names the file, what is wrong with it, and what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder. Give a folder that holds a metadata.json.")
    metadata = _metadata(folder / "metadata.json")
    notes: list[str] = []
    columns, rows = _rows(folder / ROWS_FILE)
    outputs = _columns(metadata, "output_columns", folder / "metadata.json")
    inputs = _columns(metadata, "input_columns", folder / "metadata.json", optional=True)
    if not inputs:
        inputs = _guessed_inputs(folder, columns, outputs)
        notes.append(f"metadata.json names no input_columns; taken as input: {', '.join(inputs)}")
    _check_columns(folder / ROWS_FILE, columns, [*inputs, *outputs])
    tools, schema_notes = openai_tools(_json(folder / "toolspecs.json"), folder / "toolspecs.json")
    return Domain(
        # The folder's name, not the one in metadata.json: it is what the catalog and the tasks know.
        name=folder.name,
        sop=_text(folder / "sop.txt").strip(),
        input_columns=tuple(inputs),
        output_columns=tuple(outputs),
        output_values=_output_values(metadata, outputs, folder / "metadata.json"),
        tools=tools,
        rows=rows,
        toolbox=load_toolbox(folder / "tools.py"),
        notes=(*notes, *schema_notes),
    )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}). A domain folder needs it.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: is not valid JSON: {error}. Correct the file.") from None


def _metadata(path: Path) -> dict[str, Any]:
    metadata = _json(path)
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: must be a JSON object with name, input_columns and output_columns.")
    return metadata


def _columns(metadata: dict[str, Any], key: str, path: Path, *, optional: bool = False) -> list[str]:
    value = metadata.get(key)
    if value is None and optional:
        return []
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{path}: {key} must be a list of column names. Add it.")
    return list(value)


def _rows(path: Path) -> tuple[list[str], tuple[Mapping[str, str], ...]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), restval="")
    try:
        columns = list(reader.fieldnames or [])
        # A row with more cells than the header has the rest under None; there is no column to put it in.
        rows = tuple({column: row[column] for column in columns} for row in reader)
    except csv.Error as error:
        raise ValueError(f"{path}: is not valid CSV: {error}. Correct the file.") from None
    if not rows:
        raise ValueError(f"{path}: has no rows. Give it a header and one row a task.")
    return columns, rows


def _guessed_inputs(folder: Path, columns: Sequence[str], outputs: Sequence[str]) -> list[str]:
    path = folder / _INPUTS_FILE
    known = _rows(path)[0] if path.is_file() else columns
    return [column for column in known if column in columns and column not in outputs]


def _check_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(
            f"{path}: has no column {', '.join(map(repr, missing))}, which metadata.json names. "
            f"Columns: {', '.join(columns)}. Correct one of the two."
        )


def _output_values(
    metadata: dict[str, Any], outputs: Sequence[str], path: Path
) -> dict[str, tuple[str, ...]]:
    """Our addition to the layout: `output_values`, from an output column to its allowed values."""
    declared = metadata.get("output_values", {})
    if not isinstance(declared, dict):
        raise ValueError(f"{path}: output_values must be an object from output column to allowed values.")
    for column, values in declared.items():
        if column not in outputs or not isinstance(values, list):
            raise ValueError(f"{path}: output_values.{column} must list the values of an output column.")
    return {column: tuple(map(str, values)) for column, values in declared.items()}

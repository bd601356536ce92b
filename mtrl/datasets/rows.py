"""Rows of a data set as tasks, and when two of them are the same.

Two rows are the same if an agent would see the same: environment and input, whatever the id, the target and
the spelling (letter case, spaces, Unicode forms). So sealed rows can be compared, too.
"""

import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters.contract import RequestError, Task
from adapters.contract.strict_json import require_text
from mtrl.datasets.files import DataError, read

MAX_SHOWN = 5
"""Examples named in one sentence."""


@dataclass(frozen=True)
class Row:
    """One row: where it is from, what it says, and the task that an adapter would read from it."""

    where: str
    prompt: str
    task: Task

    @cached_property
    def content(self) -> str:
        """The digest of what an agent would see; equal rows have equal ones."""
        seen = [self.task.environment, _normalized(self.task.input)]
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    @property
    def is_text(self) -> bool:
        """Whether the prompt is no task, but text that is passed on."""
        return self.task.input == {"text": self.prompt}

    def body(self) -> dict[str, Any]:
        """The JSON object of the prompt; of a text, the task that stands for it."""
        text = self.task.to_prompt() if self.is_text else self.prompt
        body: dict[str, Any] = json.loads(text)
        return body


def read_rows(place: str) -> list[Row]:
    """The rows of a data set. Raises DataError: names the file and the row."""
    return make_rows(place, read(place))


def make_rows(place: str, prompts: Iterable[str]) -> list[Row]:
    """Rows from prompts. Raises DataError as `read_rows`."""
    return [make_row(f"{place}: row {n}", prompt) for n, prompt in enumerate(prompts, 1)]


def make_row(where: str, prompt: str) -> Row:
    """One row from its prompt. Raises DataError as `read_rows`."""
    try:
        require_text(prompt, "prompt")
        return Row(where, prompt, Task.from_prompt(prompt))
    except RequestError as error:
        raise DataError(f"{where}: {error}.") from None


def same(rows: Sequence[Row]) -> list[list[Row]]:
    """The groups of two and more rows that are the same."""
    return _groups((row.content, row) for row in rows)


def same_ids(rows: Sequence[Row]) -> list[list[Row]]:
    """The groups of two and more rows with one id; rows without an id are left out."""
    return _groups((row.task.id, row) for row in rows if row.task.id)


def shown(groups: Sequence[Sequence[Row]]) -> str:
    """Some of the groups, for a sentence."""
    text = "; ".join(" = ".join(row.where for row in group[:3]) for group in groups[:MAX_SHOWN])
    return text + (f"; and {len(groups) - MAX_SHOWN} more" if len(groups) > MAX_SHOWN else "")


def refuse_duplicates(rows: Sequence[Row], next_act: str) -> None:
    """Raise DataError if two rows are the same."""
    groups = same(rows)
    if groups:
        raise DataError(f"Duplicate rows: {shown(groups)}. {next_act}")


def compact(body: dict[str, Any]) -> str:
    """The prompt of a task's JSON object."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _groups(keyed: Iterable[tuple[str, Row]]) -> list[list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for key, row in keyed:
        found[key].append(row)
    return [group for group in found.values() if len(group) > 1]


def _normalized(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, dict):
        return {key: _normalized(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_normalized(each) for each in value]
    return value

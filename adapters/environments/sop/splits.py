"""Tasks of a domain, and which split each belongs to.

The split follows from the content of the input row alone, so it is the same on every machine, and adding
rows moves none of the others.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, TypeAlias

from adapters.contract import Task
from adapters.environments.sop.folder import Domain

Split: TypeAlias = Literal["train", "validation", "test"]
TRAIN_PERCENT = 60
VALIDATION_PERCENT = 15


def tasks(domain: Domain, split: Split | None = None) -> list[Task]:
    """The tasks of one split, or of all three, in the order of the CSV.

    Rows with the same input are one task (the first of them counts): the same prompt twice would weigh
    double, and with two different targets nobody could answer it.
    """
    found: dict[str, Task] = {}
    for row in domain.rows:
        case = {column: row[column] for column in domain.input_columns}
        key = row_key(domain.name, case)
        if split in (None, split_of(key)) and key not in found:
            target = {column: row[column] for column in domain.output_columns}
            identity = f"{domain.name}-{key}"
            found[key] = Task(identity, "sop", {"domain": domain.name, "case": case}, target)
    return list(found.values())


def row_key(domain: str, case: Mapping[str, str]) -> str:
    """16 hex digits from the domain's name and the input row."""
    text = json.dumps([domain, dict(case)], ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_of(key: str) -> Split:
    """The split of a row key."""
    percent = int(key[:8], 16) % 100
    if percent < TRAIN_PERCENT:
        return "train"
    return "validation" if percent < TRAIN_PERCENT + VALIDATION_PERCENT else "test"

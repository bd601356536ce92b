"""What the domain generators share: identifiers, money, weighted choice, and the CSV form."""

import csv
import io
import random
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Row: TypeAlias = dict[str, str]


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - made-up business data, not a secret


def identifiers(chance: random.Random, prefix: str, digits: int, count: int) -> list[str]:
    """Distinct identifiers in no order, so that none can be told from another or from the row."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{prefix}{chance.randrange(10 ** (digits - 1), 10**digits)}"] = None
    return list(found)


def pick(chance: random.Random, weights: Mapping[str, int]) -> str:
    """One key, with whole-number weights."""
    at = chance.randrange(sum(weights.values()))
    for value, weight in weights.items():
        if at < weight:
            return value
        at -= weight
    raise AssertionError("the weights do not add up")


def money(cents: int) -> str:
    """`12840` is "128.40", and `-150` is "-1.50"."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def render(rows: Sequence[Row]) -> str:
    """CSV text with a header and Unix line ends; refuses rows that occur twice."""
    if len({tuple(row.values()) for row in rows}) < len(rows):
        raise ValueError("two generated rows are the same")
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()

"""Disjoint splits that stay what they are when rows are added.

A row's place is decided by the hash of its content, not by its position. Stratified, each stratum gets its
shares, taken in the order of the hashes; there a new row could move another across a boundary, so rows of an
earlier split keep their places: what was evaluated on is never trained on.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.runtime.sealing import is_sealed
from mtrl.datasets.files import WRITERS, DataError, uri
from mtrl.datasets.rows import Row, read_rows, refuse_duplicates, same_ids, shown

NAMES = ("train", "validation", "evaluation")
_CUT = ("evaluation", "validation", "train")
"""In the order of the hashes: more evaluation rows come at the cost of the other two, not in exchange."""

Shares = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows of each split, in their first order, and the size of each stratum in it."""

    rows: Mapping[str, Sequence[Row]]
    strata: Mapping[str, Mapping[str, int]]


def check_shares(shares: Shares) -> None:
    """Raise DataError unless the shares add up to 1."""
    apart = abs(sum(shares.values()) - 1) > 1e-9
    if apart or not all(0 <= share <= 1 for share in shares.values()):  # NaN is neither apart nor within
        text = " + ".join(f"--{name} {share:g}" for name, share in shares.items())
        raise DataError(f"{text} is not 1. Give shares from 0 to 1 that add up to 1.")


def split(
    rows: Sequence[Row],
    shares: Shares,
    *,
    seed: int = 0,
    by: str = "",
    earlier: Mapping[str, str] | None = None,
) -> Splits:
    """Divide the rows.

    Args:
        shares: of each of `NAMES`.
        by: a dotted path in the task; each of its values is a stratum. Empty: no strata.
        earlier: the split of contents that were divided before.

    Raises:
        DataError: rows repeat each other, the field is missing, or a split would be empty.
    """
    check_shares(shares)
    refuse_duplicates(rows, "Remove them: `mtrl dataset build` leaves them out.")
    if repeated := same_ids(rows):
        raise DataError(f"One id for different tasks: {shown(repeated)}. Give each task an id of its own.")
    strata = _strata(rows, by)
    known = earlier or {}
    places = _by_quota(strata, shares, seed, known) if by else _by_hash(rows, shares, seed, known)
    divided = {name: [row for row in rows if places[row.content] == name] for name in NAMES}
    for name in NAMES:
        if shares[name] and not divided[name]:
            raise DataError(f"No row of {len(rows)} falls into {name}. Add rows, or raise --{name}.")
    counts = {
        value: {name: sum(places[row.content] == name for row in group) for name in NAMES}
        for value, group in strata.items()
    }
    return Splits(divided, counts if by else {})


def find(folder: Path) -> dict[str, Path]:
    """The files of a split that lies in a folder, by name."""
    return {
        path.stem: path
        for path in sorted(folder.glob("*"))
        if path.stem in NAMES and path.suffix in WRITERS and path.is_file()
    }


def earlier(found: Mapping[str, Path]) -> dict[str, str]:
    """The split of each content in these files. Raises DataError if one is in two of them."""
    places: dict[str, str] = {}
    for name, path in found.items():
        for row in read_rows(str(path)):
            if places.setdefault(row.content, name) != name:
                raise DataError(
                    f"{row.where}: is in {places[row.content]}, too. Divide anew, with --fresh, after a look."
                )
    return places


def remove(found: Mapping[str, Path], *, keep: Collection[str]) -> None:
    """Delete the files of an earlier split that were not written again: they are stale."""
    for path in found.values():
        if uri(str(path)) not in keep:
            path.unlink()


def named(places: Sequence[str]) -> dict[str, str]:
    """The splits to check by name: the files of one folder of splits, or each place by its own name.

    Raises:
        DataError: two have one name.
    """
    if len(places) == 1 and (found := find(Path(places[0]))):
        return {name: str(found[name]) for name in NAMES if name in found}
    by_name = {Path(place).stem: place for place in places}
    if len(by_name) < len(places):
        raise DataError("Two of the splits have one name. Give their files names of their own.")
    return by_name


def _strata(rows: Sequence[Row], by: str) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[str(_field(row, by)) if by else ""].append(row)
    return dict(sorted(found.items()))


def _field(row: Row, path: str) -> Any:
    value: Any = row.body()
    names = path.split(".")
    if names[0] == "target" and is_sealed(value.get("target")):
        raise DataError(f"{row.where}: is sealed, so {path!r} cannot be read. Split before you seal.")
    for depth, name in enumerate(names):
        if not isinstance(value, dict) or name not in value:
            here = ", ".join(value) if isinstance(value, dict) else "none"
            where = ".".join(names[:depth]) or "the task"
            raise DataError(f"{row.where}: has no field {path!r}. Fields of {where}: {here}.")
        value = value[name]
    return value


def _point(row: Row, seed: int) -> float:
    """Where the row lies in [0, 1), by its content alone."""
    digest = hashlib.sha256(f"{seed}:{row.content}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _by_hash(rows: Sequence[Row], shares: Shares, seed: int, earlier: Mapping[str, str]) -> dict[str, str]:
    return {row.content: earlier.get(row.content) or _cut(_point(row, seed), shares) for row in rows}


def _cut(point: float, shares: Shares) -> str:
    end = 0.0
    for name in _CUT:
        end += shares[name]
        if point < end:
            return name
    return max(NAMES, key=lambda name: shares[name])  # the shares may add up to a little less than 1


def _by_quota(
    strata: Mapping[str, Sequence[Row]], shares: Shares, seed: int, earlier: Mapping[str, str]
) -> dict[str, str]:
    places: dict[str, str] = {}
    owed = dict.fromkeys(NAMES, 0.0)  # carried on, or many small strata would all round the same way
    for group in strata.values():
        quota = _quota(len(group), shares, owed)
        places |= {row.content: earlier[row.content] for row in group if row.content in earlier}
        new = sorted((row for row in group if row.content not in earlier), key=lambda row: _point(row, seed))
        taken = [places[row.content] for row in group if row.content in earlier]
        room = _room(len(new), {name: quota[name] - taken.count(name) for name in NAMES})
        order = [name for name in _CUT for _ in range(room[name])]
        places |= {row.content: name for row, name in zip(new, order, strict=True)}
        for name in NAMES:
            owed[name] += len(group) * shares[name] - room[name] - taken.count(name)
    return places


def _quota(size: int, shares: Shares, owed: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that add up to `size`, nearest to the shares and what is owed (largest remainder)."""
    wanted = {name: max(0.0, size * shares[name] + owed[name]) for name in NAMES}
    quota = {name: int(wanted[name] + 1e-9) for name in NAMES}
    while sum(quota.values()) != size:
        step = 1 if sum(quota.values()) < size else -1
        able = [name for name in NAMES if (shares[name] if step > 0 else quota[name])]
        quota[max(able, key=lambda name: step * (wanted[name] - quota[name]))] += step
    return quota


def _room(size: int, missing: Mapping[str, int]) -> dict[str, int]:
    """How many new rows go where: what is missing, less what earlier rows took too much of elsewhere."""
    room = {name: max(0, missing[name]) for name in NAMES}
    while sum(room.values()) > size:
        room[max(NAMES, key=lambda name: room[name])] -= 1
    return room

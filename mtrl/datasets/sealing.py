"""Seals and opens the targets of a data set. Inputs stay in clear, and so does everything else."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.contract import RequestError
from adapters.runtime.seal_keys import KEY_ID, KeyRing, KeysError, load_keys
from adapters.runtime.sealing import is_sealed, open_target, seal
from adapters.runtime.settings import REGION
from mtrl.datasets.files import DataError
from mtrl.datasets.rows import Row, compact, refuse_duplicates, same_ids, shown


@dataclass(frozen=True, slots=True)
class Sealed:
    """Prompts whose targets are sealed, and what became of each."""

    prompts: Sequence[str]
    sealed: int
    already: int
    without_target: int


def read_keys(place: str, region: str) -> KeyRing:
    """The key ring of `--keys`, or of MTRL_SEAL_KEYS. Raises DataError."""
    if not place:
        raise DataError("There are no keys. Name them with --keys file:/path.json, or in MTRL_SEAL_KEYS.")
    if place.startswith("kms:") and not REGION.fullmatch(region):
        what = f"--region {region!r} is no Region." if region else f"--keys {place}: the Region is not known."
        raise DataError(f"{what} Name the Region of the KMS key with --region, or in AWS_REGION.")
    try:
        return load_keys(place, region)
    except KeysError as error:
        raise DataError(f"--keys: {error}") from None


def choose_key(keys: KeyRing, kid: str) -> str:
    """The id of the key to seal with: the one that was asked for, or the only one. Raises DataError."""
    known = ", ".join(keys.keys)
    if kid and kid not in keys.keys:
        raise DataError(f"--key {kid!r} is not in the key ring. There: {known}.")
    if not kid and len(keys.keys) > 1:
        raise DataError(f"The key ring has {len(keys.keys)} keys. Choose one with --key: {known}.")
    return kid or next(iter(keys.keys))


def seal_rows(rows: Sequence[Row], *, name: str, kid: str, keys: KeyRing) -> Sealed:
    """Seal every target that is not sealed yet.

    Raises:
        DataError: rows repeat each other (ciphertexts would hide it), a row has no id, or the name is none.
    """
    if not KEY_ID.fullmatch(name):
        raise DataError(f"--name {name!r}: use 1 to 64 letters, digits, dots, dashes or underscores.")
    refuse_duplicates(rows, "Remove them before sealing: `mtrl dataset build` leaves them out.")
    if repeated := same_ids(rows):
        raise DataError(f"One id for different tasks: {shown(repeated)}. A target is sealed for one id.")
    prompts = [_sealed(row, name, kid, keys) for row in rows]
    already = sum(is_sealed(row.task.target) for row in rows)
    without = sum(row.task.target is None for row in rows)
    return Sealed(prompts, len(rows) - already - without, already, without)


def open_rows(rows: Sequence[Row], keys: KeyRing) -> tuple[list[str], int]:
    """The prompts with their targets open, and how many were sealed. Raises DataError for the first that
    does not open; its words name the row and the key, not the data."""
    sealed = sum(is_sealed(row.task.target) for row in rows)
    return [_opened(row, keys) for row in rows], sealed


def _sealed(row: Row, name: str, kid: str, keys: KeyRing) -> str:
    if row.task.target is None or is_sealed(row.task.target):
        return row.prompt
    if not row.task.id:
        raise DataError(f"{row.where}: has no id to seal its target for. `mtrl dataset build` gives ids.")
    body = row.body()
    body["target"] = seal(body["target"], dataset=name, task_id=row.task.id, kid=kid, key=keys.keys[kid])
    return compact(body)


def _opened(row: Row, keys: KeyRing) -> str:
    if not is_sealed(row.task.target):
        return row.prompt
    body = row.body()
    try:
        body["target"] = open_target(body["target"], row.task.id, keys)
    except RequestError as error:
        raise DataError(f"{row.where}: {error}.") from None
    return compact(body)

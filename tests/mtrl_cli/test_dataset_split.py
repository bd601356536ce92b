"""`mtrl dataset split`: disjoint, the same for the same rows, stable when rows are added, in proportion."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.contract import Task
from mtrl.datasets.files import read
from mtrl.datasets.rows import Row, make_rows
from mtrl.datasets.splitting import NAMES, split
from tests.mtrl_cli.dataset_kit import call, data_set, dataset, key_ring, mistake, task

SHARES = {"train": 0.8, "validation": 0.1, "evaluation": 0.1}


def rows(numbers: Any, kinds: int = 3) -> list[Row]:
    tasks = (task(n, input={"n": n, "kind": f"k{n % kinds}"}) for n in numbers)
    return make_rows("x", (json.dumps(each) for each in tasks))


def places(divided: Any) -> dict[str, str]:
    return {row.task.id: name for name, group in divided.rows.items() for row in group}


@pytest.mark.parametrize("by", ["", "input.kind"])
def test_every_row_is_in_one_split_wherever_it_stood(by: str) -> None:
    mixed = rows(range(300))
    first = places(split(mixed, SHARES, by=by))
    assert len(first) == 300
    random.Random(1).shuffle(mixed)
    assert places(split(mixed, SHARES, by=by)) == first
    assert places(split(mixed, SHARES, by=by, seed=1)) != first


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 5000), min_size=60, max_size=120), st.sets(st.integers(0, 5000)))
def test_without_strata_a_row_stays_whatever_is_added(some: set[int], more: set[int]) -> None:
    shares = {"train": 0.4, "validation": 0.3, "evaluation": 0.3}
    before, after = (places(split(rows(each), shares)) for each in (some, some | more))
    assert {row: after[row] for row in before} == before


def test_the_shares_are_met() -> None:
    counts = Counter(places(split(rows(range(5000)), SHARES)).values())
    assert abs(counts["train"] - 4000) < 120
    assert abs(counts["evaluation"] - 500) < 90


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 5))
def test_every_stratum_gets_its_shares(sizes: list[int], seed: int) -> None:
    pairs = [(kind, n) for kind, size in enumerate(sizes) for n in range(size)]
    made = make_rows("x", (json.dumps(task(i, input={"k": k, "n": n})) for i, (k, n) in enumerate(pairs)))
    shares = {"train": 0.5, "validation": 0.25, "evaluation": 0.25}
    if len(pairs) < 8:
        return
    divided = split(made, shares, by="input.k", seed=seed)
    for kind, size in enumerate(sizes):
        counts = divided.strata[str(kind)]
        assert sum(counts.values()) == size
        assert all(abs(counts[name] - size * shares[name]) < 2 for name in NAMES)
    for name in NAMES:
        assert abs(len(divided.rows[name]) - len(pairs) * shares[name]) < 1.5


def test_many_small_strata_do_not_leave_a_split_empty() -> None:
    divided = split(rows(range(300), kinds=100), SHARES, by="input.kind")
    assert {name: len(group) for name, group in divided.rows.items()} == {
        "train": 240, "validation": 30, "evaluation": 30,
    }  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.integers(40, 90), st.integers(1, 90))
def test_rows_of_an_earlier_split_keep_their_place(some: int, more: int) -> None:
    first = split(rows(range(some)), SHARES, by="input.kind")
    known = {row.content: name for name, group in first.rows.items() for row in group}
    second = split(rows(range(some + more)), SHARES, by="input.kind", earlier=known)
    before, after = places(first), places(second)
    assert {row: after[row] for row in before} == before
    assert len(after) == some + more
    assert abs(len(second.rows["evaluation"]) - (some + more) * 0.1) < 2


def test_an_earlier_place_goes_before_the_hash() -> None:
    mixed = rows(range(100))
    first = split(mixed, SHARES)
    known = {row.content: name for name, group in first.rows.items() for row in group}
    assert places(split(mixed, SHARES, seed=1, earlier=known)) == places(first)


def test_more_rows_in_the_same_folder(tmp_path: Path) -> None:
    out = tmp_path / "splits"
    kinds = [task(n, input={"n": n, "kind": f"k{n % 3}"}) for n in range(200)]
    few, all_rows = data_set(tmp_path / "a.jsonl", kinds[:100]), data_set(tmp_path / "b.csv", kinds)
    first = dataset("split", few, "--out", out, "--stratify", "input.kind")
    assert {name: part["rows"] for name, part in first["splits"].items()} == {
        "train": 80, "validation": 10, "evaluation": 10,
    }  # fmt: skip
    assert set(first["strata"]) == {"k0", "k1", "k2"}
    kept = {name: set(read(str(out / f"{name}.jsonl"))) for name in NAMES}
    second = dataset("split", all_rows, "--out", out, "--stratify", "input.kind", "--format", "parquet")
    assert second["earlier"] == 100
    assert {path.name for path in out.iterdir()} == {f"{name}.parquet" for name in NAMES}
    for name in NAMES:
        assert kept[name] < set(read(str(out / f"{name}.parquet")))
    assert dataset("split", all_rows, "--out", out, "--fresh")["earlier"] == 0
    assert dataset("check", out, "--batch", "8")["splits"].keys() == set(NAMES)


def test_sealed_rows_fall_where_their_plain_ones_do(tmp_path: Path) -> None:
    plain = data_set(tmp_path / "a.jsonl", [task(n) for n in range(60)])
    dataset("seal", plain, "--name", "s", "--keys", key_ring(tmp_path), "--out", tmp_path / "b.jsonl")
    for source, out in ((plain, "one"), (tmp_path / "b.jsonl", "two")):
        dataset("split", source, "--out", tmp_path / out)
    for name in NAMES:
        one, two = (read(str(tmp_path / out / f"{name}.jsonl")) for out in ("one", "two"))
        assert [Task.from_prompt(p).id for p in one] == [Task.from_prompt(p).id for p in two]
    text = mistake("split", tmp_path / "b.jsonl", "--out", tmp_path / "c", "--stratify", "target.kind")
    assert "row 1: is sealed, so 'target.kind' cannot be read. Split before you seal." in text


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ([], ["--train", "0.9"], "--train 0.9 + --validation 0.1 + --evaluation 0.1 is not 1."),
        ([], ["--train", "1.1", "--validation", "-0.2"], "is not 1. Give shares from 0 to 1"),
        ([], ["--train", "nan"], "--train nan + --validation 0.1 + --evaluation 0.1 is not 1."),
        ([], ["--format", "xlsx"], "train.xlsx: ends in none of"),
        ([], ["--stratify", "input.kind"], "row 1: has no field 'input.kind'. Fields of input: n."),
        (
            [],
            ["--stratify", "kind"],
            "has no field 'kind'. Fields of the task: id, environment, input, target.",
        ),
        ([], ["--stratify", "id.x"], "has no field 'id.x'. Fields of id: none."),
        ([task(1, id="again", target="other")], [], "Duplicate rows: "),
        ([task(99, id="1")], [], "One id for different tasks: "),
        (None, [], "No row of 2 falls into"),
    ],
)
def test_split_says_what_is_wrong(tmp_path: Path, changes: Any, options: list[str], message: str) -> None:
    tasks = [task(n) for n in range(2 if changes is None else 60)] + (changes or [])
    path = data_set(tmp_path / "a.jsonl", tasks)
    assert message in mistake("split", path, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_spoilt_earlier_split_is_refused(tmp_path: Path) -> None:
    path = data_set(tmp_path / "a.jsonl", [task(n) for n in range(60)])
    for name in ("train", "evaluation"):
        data_set(tmp_path / f"{name}.jsonl", [task(1)])
    assert "is in evaluation, too. Divide anew, with --fresh" in mistake("split", path, "--out", tmp_path)


def test_a_split_without_a_share_has_no_file(tmp_path: Path) -> None:
    path = data_set(tmp_path / "a.jsonl", [task(n) for n in range(60)])
    shares = ["--train", "0.7", "--validation", "0", "--evaluation", "0.3"]
    assert set(dataset("split", path, "--out", tmp_path / "s", *shares)["splits"]) == {"train", "evaluation"}
    code, _, err = call("split", path, "--out", tmp_path / "s", *shares)
    assert code == 0
    assert "all rows" in err

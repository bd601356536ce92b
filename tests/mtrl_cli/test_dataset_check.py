"""`mtrl dataset check`: each check passes on a sound data set, and each is set off by one thing alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.mtrl_cli.dataset_kit import call, data_set, dataset, key_ring, mistake, task

IDS = ["tasks", "ids", "duplicates", "leakage", "sealed", "batch", "prompt_size", "tokens"]
TRAIN = [task(n) for n in range(80)]
EVALUATION = [task(n) for n in range(100, 110)]


def sealed(folder: Path, **splits: Any) -> list[Path]:
    """Data sets of these tasks, sealed, a file each."""
    paths = []
    for name, tasks in splits.items():
        plain, out = data_set(folder / f"{name}.csv", tasks), folder / f"{name}.jsonl"
        dataset("seal", plain, "--name", "s", "--keys", key_ring(folder), "--out", out)
        paths.append(out)
    return paths


def statuses(*arguments: object, code: int) -> dict[str, str]:
    result = dataset("check", *arguments, code=code)
    assert [each["id"] for each in result["checks"]] == IDS
    assert all(set(each) == {"id", "status", "evidence", "next"} for each in result["checks"])
    assert all(each["next"] for each in result["checks"] if each["status"] != "pass")
    return {each["id"]: each["status"] for each in result["checks"] if each["status"] != "pass"}


def test_a_sound_data_set_passes(tmp_path: Path) -> None:
    paths = sealed(tmp_path, train=TRAIN, evaluation=EVALUATION)
    assert statuses(*paths, "--batch", "8", "--require-sealed", "--context-tokens", "32000", code=0) == {}


@pytest.mark.parametrize(
    ("train", "evaluation", "options", "expected"),
    [
        (TRAIN[:9], EVALUATION, ["--batch", "10"], {"batch": "fail"}),
        (TRAIN[:9], EVALUATION, ["--batch", "1"], {"batch": "warn"}),
        ([*TRAIN, task(3, id="again")], EVALUATION, [], {"duplicates": "fail"}),
        ([*TRAIN, task(3, id="again", target="x")], EVALUATION, [], {"duplicates": "fail"}),
        (
            [*TRAIN, task(3, id="n", input={"n": 900})],
            [*EVALUATION, task(8, id="o")],
            [],
            {"leakage": "fail"},
        ),
        ([*TRAIN, task(500, id="110")], [*EVALUATION, task(110)], [], {"leakage": "fail"}),
        ([*TRAIN, task(500, id="1")], EVALUATION, [], {"ids": "fail"}),
        ([*TRAIN, task(500, id="")], EVALUATION, [], {"ids": "warn"}),
        ([*TRAIN, task(500, target=None)], EVALUATION, [], {"tasks": "warn"}),
        ([*TRAIN, task(500, input={"text": "x" * 950_000})], EVALUATION, [], {"prompt_size": "warn"}),
        ([*TRAIN, task(500, input={"text": "x" * 9_000_000})], EVALUATION, [], {"prompt_size": "fail"}),
        (TRAIN, EVALUATION, ["--context-tokens", "4100"], {"tokens": "fail"}),
        (TRAIN, EVALUATION, ["--context-tokens", "8000"], {"tokens": "warn"}),
        (TRAIN, EVALUATION, ["--context-tokens", "8000", "--max-tokens", "512"], {}),
    ],
)
def test_each_check_is_set_off_alone(
    tmp_path: Path, train: Any, evaluation: Any, options: list[str], expected: dict[str, str]
) -> None:
    paths = [data_set(tmp_path / f"{n}.jsonl", t) for n, t in (("train", train), ("evaluation", evaluation))]
    batch = [] if "--batch" in options else ["--batch", "8"]
    code = 1 if "fail" in expected.values() else 0
    assert statuses(*paths, *batch, *options, code=code) == {**expected, "sealed": "warn"}


def test_an_input_is_the_same_in_other_letters(tmp_path: Path) -> None:
    one = data_set(tmp_path / "train.jsonl", [*TRAIN, task(200, input={"text": "Straße  7\n"})])
    other = data_set(tmp_path / "evaluation.jsonl", [task(201, input={"text": " STRASSE 7"})])
    result = dataset("check", one, other, "--batch", "8", code=1)
    (leak,) = (each for each in result["checks"] if each["status"] == "fail")
    assert leak["evidence"] == "train and evaluation share 1 inputs and 0 ids"
    assert "STRASSE" not in json.dumps(result)


def test_a_target_in_clear_warns_or_fails(tmp_path: Path) -> None:
    path = data_set(tmp_path / "train.jsonl", TRAIN)
    assert statuses(path, "--batch", "8", code=0) == {"sealed": "warn"}
    assert statuses(path, "--batch", "8", "--require-sealed", code=1) == {"sealed": "fail"}


def test_a_broken_seal_fails(tmp_path: Path) -> None:
    broken = task(500, target={"sealed": {"v": 1}})
    path = data_set(tmp_path / "train.jsonl", [*TRAIN, broken])
    assert statuses(path, "--batch", "8", code=1) == {"sealed": "fail"}


def test_duplicates_and_leakage_are_seen_in_sealed_rows(tmp_path: Path) -> None:
    one, other = sealed(tmp_path, train=TRAIN, evaluation=[task(5, id="other")])
    assert statuses(one, other, "--batch", "8", code=1) == {"leakage": "fail"}
    twice = tmp_path / "twice.jsonl"
    twice.write_text(one.read_text() + other.read_text())
    assert statuses(twice, "--batch", "8", code=1) == {"duplicates": "fail"}


def test_contradicting_rows_are_counted(tmp_path: Path) -> None:
    path = data_set(tmp_path / "a.jsonl", [*TRAIN, task(3, id="again", target="x"), task(4, id="more")])
    checks = {each["id"]: each for each in dataset("check", path, "--batch", "8", code=1)["checks"]}
    assert "2 inputs are repeated, 1 of them with different targets: " in checks["duplicates"]["evidence"]


def test_text_prompts_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\n" + "\n".join(f"question {n}" for n in range(80)) + "\n")
    assert statuses(tmp_path / "a.csv", "--batch", "8", code=0) == {"tasks": "warn", "ids": "warn"}


def test_the_table_shows_every_check(tmp_path: Path) -> None:
    path = data_set(tmp_path / "[b]train.jsonl", TRAIN)
    code, out, err = call("check", path)
    assert (code, out) == (1, "")
    assert all(name in err for name in IDS)
    assert "Add 48 rows" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["/not/there.csv"], "there is no such file or folder. Check the path."),
        (["a/train.jsonl", "b/train.csv"], "Two of the splits have one name."),
        (["empty.jsonl"], "there is no row in it."),
    ],
)
def test_what_cannot_be_checked_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    assert message in mistake("check", *places)

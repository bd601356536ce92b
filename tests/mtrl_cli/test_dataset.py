"""`mtrl dataset build|seal|open|check` as a user calls them: files in, files out."""

import base64
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.contract import Task
from adapters.runtime.sealing import is_sealed
from mtrl.datasets.checks import CHECKS
from mtrl.datasets.files import DataError, read, write
from tests.mtrl_cli.dataset_kit import ENDINGS, call, data_set, dataset, key_ring, mistake, task
from tests.service.small_s3 import small_s3

ROOT = Path(__file__).parents[2]
TARGET = {"decision": "approve-§", "amount": "12,50 \"x\"\n"}  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), max_size=5))
def test_every_format_keeps_every_prompt(tmp_path_factory: Any, prompts: Sequence[str]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    for ending in ENDINGS:
        path = str(folder / f"a b{ending}")
        write(path, prompts)
        assert read(path) == list(prompts), ending


@pytest.mark.parametrize("first", ENDINGS)
@pytest.mark.parametrize("second", ENDINGS)
def test_seal_and_open_are_inverse(tmp_path: Path, first: str, second: str) -> None:
    plain = data_set(tmp_path / f"plain{first}", [task(n, target=TARGET) for n in range(3)])
    keys, out = key_ring(tmp_path), tmp_path / f"sealed{second}"
    result = dataset("seal", plain, "--name", "s1", "--keys", keys, "--out", out)
    assert (result["rows"], result["sealed"], result["kid"], result["name"]) == (3, 3, "k1", "s1")
    assert b"approve" not in out.read_bytes()
    rows = [Task.from_prompt(prompt) for prompt in read(str(out))]
    assert all(is_sealed(row.target) and row.target["sealed"]["set"] == "s1" for row in rows)
    assert [row.input for row in rows] == [Task.from_prompt(p).input for p in read(str(plain))]
    again = tmp_path / f"again{first}"
    assert dataset("open", out, "--keys", keys, "--out", again)["opened"] == 3
    assert read(str(again)) == read(str(plain))
    assert stat.S_IMODE(again.stat().st_mode) == 0o600


def test_open_never_writes_into_what_is_there_nor_shows_a_target(tmp_path: Path) -> None:
    plain = data_set(tmp_path / "plain.jsonl", [task(1, target="TARGET-7")])
    keys = key_ring(tmp_path)
    dataset("seal", plain, "--name", "s1", "--keys", keys, "--out", tmp_path / "sealed.jsonl")
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "elsewhere.jsonl")
    for there in (plain, link):
        text = mistake("open", tmp_path / "sealed.jsonl", "--keys", keys, "--out", there)
        assert "is there already. Remove it, or choose another --out." in text
        assert "TARGET-7" not in text
    assert not (tmp_path / "elsewhere.jsonl").exists()
    text = mistake("open", tmp_path / "sealed.jsonl", "--keys", keys, "--out", "s3://bucket/x.jsonl")
    assert "what is opened is written to this machine only" in text


def test_a_row_of_another_task_does_not_open(tmp_path: Path) -> None:
    plain = data_set(tmp_path / "plain.jsonl", [task(1, target="TARGET-7"), task(2, target="no")])
    keys, sealed = key_ring(tmp_path), tmp_path / "sealed.jsonl"
    dataset("seal", plain, "--name", "s1", "--keys", keys, "--out", sealed)
    one, two = (json.loads(prompt) for prompt in read(str(sealed)))
    data_set(sealed, [{**one, "target": two["target"]}, two])
    text = mistake("open", sealed, "--keys", keys, "--out", tmp_path / "open.jsonl")
    assert "row 1: prompt.target.sealed: does not open with key 'k1'" in text
    assert not (tmp_path / "open.jsonl").exists()


def test_keys_are_rotated_row_by_row(tmp_path: Path) -> None:
    ring, old = key_ring(tmp_path, "k1", "k2"), data_set(tmp_path / "a.jsonl", [task(1, target="x")])
    dataset("seal", old, "--name", "s", "--keys", ring, "--key", "k1", "--out", tmp_path / "b.jsonl")
    both = [*map(json.loads, read(str(tmp_path / "b.jsonl"))), task(2, target="y"), task(3, target=None)]
    mixed = data_set(tmp_path / "c.jsonl", both)
    result = dataset(
        "seal", mixed, "--name", "s", "--keys", ring, "--key", "k2", "--out", tmp_path / "d.jsonl"
    )
    assert [result[name] for name in ("sealed", "already_sealed", "without_target")] == [1, 1, 1]
    assert dataset("open", tmp_path / "d.jsonl", "--keys", ring, "--out", tmp_path / "e.jsonl")["opened"] == 2


@pytest.mark.parametrize(
    ("rows", "extra", "message"),
    [
        (
            [task(1), task(1, id="b")],
            [],
            "Duplicate rows: {f}: row 1 = {f}: row 2. Remove them before sealing",
        ),
        ([task(1), task(2, id="1")], [], "One id for different tasks: {f}: row 1 = {f}: row 2. A target is"),
        (
            [task(1, id="")],
            [],
            "{f}: row 1: has no id to seal its target for. `mtrl dataset build` gives ids.",
        ),
        ([task(1, input=3)], [], "{f}: row 1: prompt.input: must be an object or a string"),
        ([task(1)], ["--name", "a/b"], "--name 'a/b': use 1 to 64 letters"),
        ([task(1)], ["--key", "k9"], "--key 'k9' is not in the key ring. There: k1, k2."),
        ([task(1)], ["--key", ""], "The key ring has 2 keys. Choose one with --key: k1, k2."),
        ([task(1)], ["--keys", ""], "There are no keys. Name them with --keys file:/path.json"),
        ([task(1)], ["--keys", "file:/no"], "--keys: /no: cannot be read"),
        ([task(1)], ["--keys", "kms:/keys.json"], "--keys kms:/keys.json: the Region is not known. Name the"),
        (
            [task(1)],
            ["--keys", "kms:/k", "--region", "mars"],
            "--region 'mars' is no Region. Name the Region of",
        ),
        ([task(1)], ["--keys", "secretsmanager:foo"], "(arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)."),
        ([task(1)], ["--out", "x.txt"], "x.txt: ends in none of .parquet, .jsonl, .json, .csv."),
    ],
)
def test_seal_says_what_is_wrong(
    tmp_path: Path, rows: Any, extra: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    path = data_set(tmp_path / "a.jsonl", rows)
    options: dict[str, object] = {"--name": "s", "--keys": key_ring(tmp_path, "k1", "k2"), "--key": "k1"}
    options |= {"--out": tmp_path / "out.jsonl", **dict(zip(extra[::2], extra[1::2], strict=True))}
    text = mistake("seal", path, *(part for pair in options.items() for part in pair))
    assert message.format(f=path) in text
    assert not (tmp_path / "out.jsonl").exists()


def test_the_key_ring_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data_set(tmp_path / "a.jsonl", [task(1)])
    monkeypatch.setenv("MTRL_SEAL_KEYS", key_ring(tmp_path))
    assert dataset("seal", path, "--name", "s", "--out", tmp_path / "b.jsonl")["sealed"] == 1


@pytest.mark.parametrize(("name", "rows"), [("sop", 300), ("service_desk", 100), ("sql", 100)])
def test_an_environments_tasks_become_rows(tmp_path: Path, name: str, rows: int) -> None:
    out = tmp_path / "all.parquet"
    result = dataset("build", "--environment", name, "--out", out)
    assert result["rows"] >= rows
    tasks = [Task.from_prompt(prompt) for prompt in read(str(out))]
    assert len({task.id for task in tasks}) == result["rows"]
    assert {task.environment for task in tasks} == {name}
    train = dataset("build", "--environment", name, "--split", "train", "--out", tmp_path / "train.csv")
    assert 0 < train["rows"] < result["rows"]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_a_file_of_tasks_becomes_unique_rows(tmp_path: Path, ending: str, wrapped: bool) -> None:
    tasks = [task(1, id="", environment=""), task(2, id="two"), task(2, id="again"), task(3, more={"a": 1})]
    objects = [{"prompt": json.dumps(each)} for each in tasks] if wrapped else tasks
    source = tmp_path / f"tasks{ending}"
    lines = "\n".join(json.dumps(each) for each in objects)
    source.write_text(lines if ending == ".jsonl" else json.dumps(objects))
    result = dataset("build", "--tasks", source, "--environment", "fake", "--out", tmp_path / "out.csv")
    assert (result["rows"], result["dropped"]) == (3, 1)
    rows = [json.loads(prompt) for prompt in read(str(tmp_path / "out.csv"))]
    assert [row["id"] for row in rows[1:]] == ["two", "3"]
    assert len(rows[0]["id"]) == 16
    assert {row["environment"] for row in rows} == {"fake"}
    assert rows[2]["more"] == {"a": 1}


def test_text_prompts_become_tasks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\nWhat is 2+2?\n")
    dataset("build", "--tasks", tmp_path / "a.csv", "--environment", "qa", "--out", tmp_path / "b.jsonl")
    (row,) = (Task.from_prompt(prompt) for prompt in read(str(tmp_path / "b.jsonl")))
    assert (row.environment, row.input, len(row.id)) == ("qa", {"text": "What is 2+2?"}, 16)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"input": {"a": 1}, "target": 1}\n{"input": {"a": 1}, "target": 2}',
            "line 2 contradicts {f}: line 1",
        ),
        ('{"id": "1", "input": "a"}\n{"id": "1", "input": "b"}', "One id for different tasks: {f}: line 1 ="),
        ('{"question": "a"}', "line 1: is no task: a JSON object with `input`"),
        ("[1]", "line 1: is no task"),
        ("{", "line 1: is not valid JSON"),
        ('{"input": "\\ud800"}', "line 1: prompt: holds half of a surrogate pair"),
        ('{"input": 3}', "line 1: prompt.input: must be an object or a string"),
        ('{"input": "a", "environment": "sql"}', "line 1: is of the environment 'sql', not 'fake'."),
    ],
)
def test_build_names_the_wrong_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(content)
    text = mistake("build", "--tasks", path, "--environment", "fake", "--out", tmp_path / "b.jsonl")
    assert message.format(f=path) in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Where are the tasks? Name --environment, or a file with --tasks."),
        (["--environment", "sopp"], "Unknown environment 'sopp'. Did you mean 'sop'?"),
        (["--environment", "sop", "--domain", "x"], "--domain: "),
        (
            ["--environment", "sop", "--split", "x"],
            "mtrl: --split 'x' is none of train, validation, test, all.",
        ),
        (
            ["--environment", "sop", "--split", "dev"],
            "--split 'dev' is none of train, validation, test, all.",
        ),
        (["--tasks", "/not/there.jsonl"], "/not/there.jsonl: cannot be read: No such file or directory"),
        (["--tasks", "/not/the re.csv"], "mtrl: /not/the re.csv: there is no such file or folder"),
        (["--environment", "sop", "--out", "/dev/null/a.csv"], "cannot be written"),
    ],
)
def test_build_says_what_is_wrong(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in mistake("build", "--out", tmp_path / "b.jsonl", *arguments)


def test_one_is_no_plural(tmp_path: Path) -> None:
    plain = data_set(tmp_path / "a.jsonl", [task(1)])
    told = [call("build", "--tasks", plain, "--out", tmp_path / "b.jsonl")[2]]
    sealed = ("--name", "s", "--keys", key_ring(tmp_path), "--out", tmp_path / "c.jsonl")
    told.append(call("seal", plain, *sealed)[2])
    assert [line.split(" in ")[0] for line in told] == ["1 row", "1 target sealed with key k1"]
    found = {each["id"]: each for each in dataset("check", plain, "--batch", "2", code=1)["checks"]}
    assert found["tasks"]["evidence"] == "1 row, tasks with a target"
    assert (found["batch"]["evidence"], found["batch"]["next"]) == (
        "a: 1 row, global_batch_size 2",
        "Add 1 row, or lower global_batch_size.",
    )


@pytest.mark.parametrize(("name", "content"), [("a.json", "[]"), ("a.jsonl", ""), ("a.csv", "prompt\n")])
def test_a_file_without_tasks_builds_nothing(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    text = mistake("build", "--tasks", tmp_path / name, "--out", tmp_path / "b.jsonl")
    assert f"{tmp_path / name}: there is no task in it." in text
    assert not (tmp_path / "b.jsonl").exists()


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    plain, keys = data_set(tmp_path / "a b.jsonl", [task(n) for n in range(40)]), key_ring(tmp_path)
    before = plain.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(plain)
    for source, out in ((plain, plain), (plain.as_uri(), plain), (plain, link), (tmp_path, plain)):
        text = mistake("seal", source, "--name", "s", "--keys", keys, "--out", out)
        assert f"--out {out}: is what is read, and would be replaced. Choose another place." in text
    assert "is what is read" in mistake("build", "--tasks", plain, "--out", plain)
    train = plain.rename(tmp_path / "train.jsonl")
    assert "is what is read" in mistake("split", train, "--out", tmp_path, "--fresh", "--format", "csv")
    assert train.read_bytes() == before


def test_an_array_is_asked_for_where_one_must_be(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"input": "x"}')
    assert "must hold a JSON array" in mistake("build", "--tasks", tmp_path / "a.json", "--out", "b.csv")
    (tmp_path / "b.jsonl").write_bytes(b"\xff")
    assert "is not UTF-8" in mistake("build", "--tasks", tmp_path / "b.jsonl", "--out", "b.csv")


def test_without_pyarrow_there_is_a_plain_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"Parquet needs pyarrow: pip install -e '\.\[parquet\]' .*use JSONL"):
        write(str(tmp_path / "a.parquet"), ["x"])
    assert "needs pyarrow" in mistake("build", "--environment", "sop", "--out", tmp_path / "a.parquet")


def test_a_data_set_may_lie_in_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_s3() as (endpoint, objects):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, "us-west-2")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        plain = data_set(tmp_path / "a b.jsonl", [task(n) for n in range(9)])
        out = "s3://data/sets/a%20b.jsonl"
        dataset("seal", plain, "--name", "s", "--keys", key_ring(tmp_path), "--out", out)
        assert list(objects) == ["data/sets/a%20b.jsonl"]
        result = dataset("check", "s3://data/sets/", "--batch", "1", "--require-sealed")
        assert list(result["splits"].values()) == [9]


def shell_blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / "docs/datasets.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_commands_of_the_documentation_run(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(shell_blocks())
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MTRL_")}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/splits/train.jsonl").is_file()
    assert read(str(tmp_path / "opened.jsonl")) == read(str(tmp_path / "out/splits/train.jsonl"))


def test_the_documentation_names_every_check_and_option() -> None:
    text = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    table = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert {each.__name__.removeprefix("_") for each in CHECKS} <= table


def test_a_key_never_reaches_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"k1": base64.b64encode(b"short").decode()}))
    path = data_set(tmp_path / "a.jsonl", [task(1)])
    text = mistake("seal", path, "--name", "s", "--keys", f"file:{tmp_path}/keys.json", "--out", "b.csv")
    assert "key 'k1' must be 32 bytes in base64" in text
    assert base64.b64encode(b"short").decode() not in text

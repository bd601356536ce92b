"""Data sets from real files in all formats, and from a small S3 through a real boto3 client."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rehearsal.service.data import DataError, Output, check_prompts, read_prompts
from tests.service.small_s3 import small_s3

PROMPTS = ['{"id": "1",  "input": {"a": "ü, \\"q\\""}}', "plain, text", "two\nlines"]


def write(path: Path, prompts: list[str]) -> Path:
    """A data set with another column before `prompt`, in the format that the name asks for."""
    rows = [{"n": str(i), "prompt": prompt} for i, prompt in enumerate(prompts)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        quoted = ['"' + prompt.replace('"', '""') + '"' for prompt in prompts]
        path.write_text("\n".join(["n,prompt", *(f"{i},{q}" for i, q in enumerate(quoted))]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv"])
def test_each_format_gives_the_prompts_verbatim(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a b{suffix}", PROMPTS)
    assert read_prompts(path.as_uri()) == PROMPTS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"q": "first", "x": "no"}\n'),
        ("a.json", '[{"q": "first", "x": "no"}]'),
        ("a.csv", "q,x\nfirst,no\n"),
    ],
)
def test_without_a_prompt_column_the_first_one_counts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_prompts((tmp_path / name).as_uri()) == ["first"]


def test_first_column_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": ["first"], "x": ["no"]}), tmp_path / "a.parquet")
    assert read_prompts((tmp_path / "a.parquet").as_uri()) == ["first"]


def test_a_structured_prompt_becomes_compact_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": {"id": "ü", "input": {"b": 1, "a": 2}}}\n')
    assert read_prompts((tmp_path / "a.jsonl").as_uri()) == ['{"id":"ü","input":{"b":1,"a":2}}']


def test_a_long_csv_field_and_a_byte_order_mark(tmp_path: Path) -> None:
    long = "x" * 300_000
    (tmp_path / "a.csv").write_text(f"\ufeffprompt\n{long}\n", encoding="utf-8")
    assert read_prompts((tmp_path / "a.csv").as_uri()) == [long]


def test_a_folder_is_all_its_data_files_in_order(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", ["3"])
    write(tmp_path / "a.csv", ["1", "2"])
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "c.parquet", ["4"])
    for ignored in ("_SUCCESS", ".hidden.jsonl", "README.md"):
        (tmp_path / ignored).write_text("no data")
    assert read_prompts(tmp_path.as_uri()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.jsonl", '{"prompt": "x"}\n\n{oops}\n', r"a\.jsonl: line 3: is not valid JSON"),
        ("a.jsonl", '{"prompt": "x"}\n["y"]\n', r"row 2: must be a JSON object with a `prompt`, not list\."),
        ("a.jsonl", '"secret"\n', r"a\.jsonl: row 1: must be a JSON object with a `prompt`, not str\."),
        ("a.jsonl", "{}\n", r"a\.jsonl: row 1: must be a JSON object with a `prompt`, not an empty one\."),
        ("a.jsonl", '{"prompt": null}\n', r"row 1: the prompt is empty"),
        ("a.json", '{"prompt": "x"}', r"a\.json: must hold a JSON array.*\.jsonl"),
        ("a.csv", "prompt,n\nhello, world,1\n", r"row 1: 3 fields under 2 columns\. Quote"),
        ("a.csv", 'prompt\n"open\n', r"a\.csv: is no valid CSV"),
        ("a.csv", "", r"a\.csv: is empty"),
        ("a.parquet", "PAR1", r"a\.parquet: is no valid Parquet"),
        ("a.txt", "x", r"a\.txt: is none of \.parquet, \.jsonl, \.json, \.csv"),
        ("a.jsonl", b'{"prompt": "\xff"}', r"a\.jsonl: is not UTF-8"),
    ],
)
def test_bad_content_names_file_and_row(tmp_path: Path, name: str, content: str | bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=text):
        read_prompts((tmp_path / name).as_uri())


@pytest.mark.parametrize("uri", ["https://x/y", "/data/a.jsonl", "s3://", "file://host/a.jsonl"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(DataError, match=r"neither file:///absolute/path nor s3://bucket/prefix"):
        read_prompts(uri)


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_prompts((tmp_path / "none").as_uri())
    with pytest.raises(DataError, match="holds no data file"):
        read_prompts(tmp_path.as_uri())


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", ["x"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"\.\[parquet\]"):
        read_prompts(path.as_uri())


def test_check_prompts() -> None:
    check_prompts(["a", "b"], 2)
    with pytest.raises(DataError, match=r"2 rows, fewer than global_batch_size 32\. Add rows"):
        check_prompts(["a", "b"], 32)
    with pytest.raises(DataError, match=r"row 3 \(= 1\), 4 \(= 1\)\. Remove"):
        check_prompts(["a", "b", "a", "a"], 1)
    with pytest.raises(DataError, match=r"and 4 more"):
        check_prompts(["a"] * 15, 1)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    with small_s3() as (endpoint, objects):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
        yield objects


def test_s3_object_and_prefix(s3: dict[str, bytes]) -> None:
    s3["data/train/b.jsonl"] = b'{"prompt": "2"}'
    s3["data/train/a ü.csv"] = b"prompt\n1\n"
    s3["data/train/c/d.json"] = b'[{"prompt": "3"}]'
    s3["data/train/_SUCCESS"] = b""
    s3["data/train2.jsonl"] = b'{"prompt": "4"}'
    assert read_prompts("s3://data/train/") == ["1", "2", "3"]
    assert read_prompts("s3://data/train/a ü.csv") == ["1"]
    # as in S3 itself, a prefix need not end at a slash
    assert read_prompts("s3://data/train") == ["1", "2", "3", "4"]


def test_s3_errors_name_the_place(s3: dict[str, bytes]) -> None:
    s3["data/notes.md"] = b"x"
    with pytest.raises(DataError, match=r"s3://missing/x: .*NoSuchBucket.*Check the bucket"):
        read_prompts("s3://missing/x")
    with pytest.raises(DataError, match=r"s3://data/none: there is no object"):
        read_prompts("s3://data/none")
    with pytest.raises(DataError, match=r"s3://data/no: holds no data file"):
        read_prompts("s3://data/no")


def test_output_to_a_folder(tmp_path: Path) -> None:
    out = Output()
    uri = (tmp_path / "out dir").as_uri()
    where = out.write_bytes(uri, "model/weights.npz", b"12")
    assert where == f"{uri}/model/weights.npz"
    assert (tmp_path / "out dir/model/weights.npz").read_bytes() == b"12"
    out.append_line(uri, "log.jsonl", "1")
    Output().append_line(uri, "log.jsonl", "2\n")
    assert (tmp_path / "out dir/log.jsonl").read_text() == "1\n2\n"


def test_output_to_s3(s3: dict[str, bytes]) -> None:
    out = Output()
    assert out.write_bytes("s3://out/jobs/", "model/w.npz", b"12") == "s3://out/jobs/model/w.npz"
    assert s3["out/jobs/model/w.npz"] == b"12"
    out.append_line("s3://out", "log.jsonl", "1")
    out.append_line("s3://out", "log.jsonl", "2")
    assert s3["out/log.jsonl"] == b"1\n2\n"


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x"])
def test_output_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="below the output folder"):
        Output().write_bytes(tmp_path.as_uri(), name, b"")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        Output().write_bytes((tmp_path / "file").as_uri(), "x", b"")

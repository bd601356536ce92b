"""Calls of `mtrl dataset` in this process, and small data sets for them."""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from mtrl.application import app
from mtrl.datasets.files import write

ENDINGS = (".parquet", ".jsonl", ".json", ".csv")


def task(number: int, **fields: Any) -> dict[str, Any]:
    body = {"id": str(number), "environment": "fake", "input": {"n": number}, "target": f"T{number}"}
    return body | fields


def data_set(path: Path, tasks: Sequence[dict[str, Any]]) -> Path:
    write(str(path), [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in tasks])
    return path


def key_ring(folder: Path, *kids: str) -> str:
    path = folder / "keys.json"
    path.write_text(json.dumps({kid: base64.b64encode(os.urandom(32)).decode() for kid in kids or ("k1",)}))
    return f"file:{path}"


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = CliRunner().invoke(app, ["dataset", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def dataset(*arguments: object, code: int = 0) -> dict[str, Any]:
    """The object that a call prints with `--json`."""
    exit_code, out, err = call(*arguments, "--json")
    assert exit_code == code, err
    (line,) = out.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def mistake(*arguments: object) -> str:
    """What a call that must end with exit code 2 says."""
    code, out, err = call(*arguments)
    assert (code, out) == (2, ""), err
    assert err.startswith("mtrl: ")
    assert "Traceback" not in err
    return " ".join(err.split())

"""Reading a domain folder: what is accepted, what is noted, what is refused."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest

from adapters.environments import sop
from tests.environments.folders import METADATA, SCHEMA, spec, write_domain

RANDOM_TOOLS = """
{imported}

class DiceManager:
    def process_tool_call(self, name, given):
        return [({used})() for _ in range(3)]
"""
SLOW_TOOLS = """
import time

class SlowManager:
    def process_tool_call(self, name, given):
        time.sleep(0.3)
"""
EXCLUSIVE_TOOLS = """
import time

class ExclusiveManager:
    busy = 0

    def process_tool_call(self, name, given):
        self.busy += 1
        time.sleep(0.02)
        seen, self.busy = self.busy, self.busy - 1
        return seen
"""
ODD_RESULTS = """
import datetime, decimal
import numpy, pandas

class OddManager:
    def process_tool_call(self, name, given):
        return {
            "flag": numpy.bool_(True), "count": numpy.int64(3), "share": numpy.float64("nan"),
            "cell": pandas.NA, "day": pandas.Timestamp("2025-01-02"), "none": pandas.NaT,
            "set": {"b", "a"}, "price": decimal.Decimal("1.50"), 4: datetime.date(2025, 1, 2),
            "series": pandas.Series([1, 2]),
        }
"""


async def _call(domain: sop.Domain, tool: str, **arguments: Any) -> Any:
    return json.loads((await domain.toolbox.call(tool, arguments)).content)


def test_columns_rows_and_tools(tmp_path: Path) -> None:
    domain = sop.load_folder(write_domain(tmp_path / "tiny"))
    assert (domain.name, domain.input_columns, domain.output_columns) == ("tiny", ("key",), ("final status",))
    assert domain.rows[1] == {"key": "b", "final status": "Open"}
    assert domain.tools[0]["function"] == {"name": "look", "description": "A tool.", "parameters": SCHEMA}
    assert domain.notes == ()
    assert domain.toolbox.blocking


def test_input_columns_are_guessed_and_noted(tmp_path: Path) -> None:
    metadata = {"name": "tiny", "output_columns": ["final status"]}
    rows = b"key,hidden,final status\na,x,Done\n"
    folder = write_domain(tmp_path / "tiny", metadata=metadata, rows=rows)
    assert sop.load_folder(folder).input_columns == ("key", "hidden")
    (folder / "test_set_without_outputs.csv").write_text("key\na\n")
    domain = sop.load_folder(folder)
    assert domain.input_columns == ("key",)
    assert "input_columns" in domain.notes[0]


@pytest.mark.parametrize(
    "text", ["caf\u00e9".encode(), "caf\u00e9".encode("latin-1"), b"\xef\xbb\xbfcaf\xc3\xa9"]
)
def test_text_encodings(tmp_path: Path, text: bytes) -> None:
    folder = write_domain(tmp_path / "tiny")
    (folder / "sop.txt").write_bytes(text)
    assert sop.load_folder(folder).sop == "caf\u00e9"


def test_a_quoted_cell_may_hold_line_breaks_and_a_short_row_is_filled(tmp_path: Path) -> None:
    rows = 'key,final status\n"a\nb",Done\nc\u2028c\n'.encode()
    domain = sop.load_folder(write_domain(tmp_path / "tiny", rows=rows))
    assert [row["key"] for row in domain.rows] == ["a\nb", "c\u2028c"]
    assert domain.rows[1]["final status"] == ""


def test_foreign_type_names_become_json_schema(tmp_path: Path) -> None:
    schema = {
        "type": "Object",
        "properties": {"price": {"type": "float", "required": True}, "type": {"type": "str"}},
    }
    domain = sop.load_folder(write_domain(tmp_path / "tiny", specs=[spec("look", schema)]))
    parameters = domain.tools[0]["function"]["parameters"]
    validator = jsonschema_rs.validator_for(parameters)
    assert validator.is_valid({"price": 1.5, "type": "x"})
    assert not validator.is_valid({"price": "1.5"})
    assert domain.notes == ()


@pytest.mark.parametrize("schema", [{"type": "gadget"}, {"pattern": "("}, "none", {"required": [1]}])
def test_a_schema_that_cannot_be_used_is_replaced_and_noted(tmp_path: Path, schema: Any) -> None:
    domain = sop.load_folder(write_domain(tmp_path / "tiny", specs=[spec("look", schema)]))
    assert jsonschema_rs.validator_for(domain.tools[0]["function"]["parameters"]).is_valid({"any": 1})
    assert "look" in domain.notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata": []}, "metadata.json: must be a JSON object"),
        ({"metadata": {"input_columns": ["key"]}}, "output_columns must be a list"),
        (
            {"metadata": {**METADATA, "input_columns": ["id"]}},
            "has no column 'id'.*Columns: key",
        ),
        ({"metadata": {**METADATA, "output_values": {"key": ["a"]}}}, "output_values.key"),
        ({"rows": b"key,final status\n"}, "has no rows"),
        ({"rows": b"key,final status\n" + b"x" * 200_000}, "is not valid CSV: field larger"),
        ({"specs": {}}, "toolspecs.json: must be a list"),
        ({"specs": [{"toolSpec": {"name": "two words"}}]}, "entry 0 needs toolSpec.name"),
        ({"specs": [spec("look", SCHEMA), spec("look", SCHEMA)]}, "a tool name occurs twice"),
        ({"tools": "class Other: pass"}, "class whose name ends in 'Manager'; found: none"),
        ({"tools": "class AManager: pass\nclass BManager: pass"}, "found: AManager, BManager"),
        ({"tools": "class AManager: pass"}, "has no method process_tool_call"),
        ({"tools": "class AManager:\n  def __init__(self): 1/0"}, "AManager.. raised ZeroDivisionError"),
        ({"tools": "import no_such_package"}, "pip install -e '..sop-bench.'"),
        ({"tools": "1 +"}, "tools.py: raised SyntaxError"),
    ],
)
def test_a_wrong_folder_is_refused_with_file_and_problem(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        sop.load_folder(write_domain(tmp_path / "tiny", **changes))


@pytest.mark.parametrize("name", ["metadata.json", "sop.txt", "toolspecs.json", "tools.py"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_domain(tmp_path / "tiny")
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        sop.load_folder(folder)


@pytest.mark.parametrize(
    ("imported", "used"),
    [
        ("import random", "random.random"),
        ("import random as r", "r.random"),
        ("from random import random", "random"),
        ("from random import randint as roll", "lambda: roll(1, 10**12)"),
    ],
)
async def test_dice_fall_by_the_arguments_and_leave_everybody_elses_alone(
    tmp_path: Path, imported: str, used: str
) -> None:
    tools = RANDOM_TOOLS.format(imported=imported, used=used)
    domain = sop.load_folder(write_domain(tmp_path / "tiny", tools=tools))
    again = sop.load_folder(write_domain(tmp_path / "copy" / "tiny", tools=tools))
    random.seed(5)
    before = random.getstate()
    first = await _call(domain, "look", key="a")
    results = await asyncio.gather(*(_call(domain, "look", key=key) for key in "abab" * 10))
    assert random.getstate() == before
    assert all(result == first for result in results[::2])
    assert results[1] != first
    assert await _call(domain, "other", key="a") != first
    assert await _call(again, "look", key="a") == first


async def test_a_blocking_tool_does_not_hold_the_event_loop(tmp_path: Path) -> None:
    domain = sop.load_folder(write_domain(tmp_path / "tiny", tools=SLOW_TOOLS))
    call = asyncio.create_task(domain.toolbox.call("look", {}))
    await asyncio.sleep(0.01)
    assert not call.done()
    assert (await call).content == "null"


async def test_blocking_tools_of_a_domain_run_one_at_a_time(tmp_path: Path) -> None:
    domain = sop.load_folder(write_domain(tmp_path / "tiny", tools=EXCLUSIVE_TOOLS))
    assert await asyncio.gather(*(_call(domain, "look") for _ in range(4))) == [1, 1, 1, 1]


async def test_odd_results_become_json(tmp_path: Path) -> None:
    domain = sop.load_folder(write_domain(tmp_path / "tiny", tools=ODD_RESULTS))
    assert await _call(domain, "look") == {
        "flag": True,
        "count": 3,
        "share": None,
        "cell": None,
        "day": "2025-01-02T00:00:00",
        "none": None,
        "set": ["a", "b"],
        "price": "1.50",
        "4": "2025-01-02",
        "series": {"0": 1, "1": 2},
    }


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("return 'plain'", '"plain"'),
        ("return None", "null"),
        ("raise ValueError('no such key')", '{"error":"no such key"}'),
        ("raise ValueError(chr(0xD800))", '{"error":"?"}'),
        ("raise KeyError('key')", '{"error":"KeyError: \'key\'"}'),
        ("print('to nobody'); return 1", "1"),
    ],
)
async def test_results_and_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, content: str
) -> None:
    tools = f"class AManager:\n  def process_tool_call(self, name, given): {body}\n"
    result = await sop.load_folder(write_domain(tmp_path / "tiny", tools=tools)).toolbox.call("look", {})
    assert result.content == content
    assert result.is_error is body.startswith("raise")
    assert capsys.readouterr().out == ""


def test_rows_with_the_same_input_are_one_task(tmp_path: Path) -> None:
    rows = b"key,final status\na,Done\na,Open\nb,Open\n"
    found = sop.tasks(sop.load_folder(write_domain(tmp_path / "tiny", rows=rows)))
    assert [(task.input["case"], task.target) for task in found] == [
        ({"key": "a"}, {"final status": "Done"}),
        ({"key": "b"}, {"final status": "Open"}),
    ]


def test_adding_a_row_moves_no_other(tmp_path: Path) -> None:
    rows = b"key,final status\n" + b"".join(b"k%d,Done\n" % at for at in range(40))
    before = sop.load_folder(write_domain(tmp_path / "tiny", rows=rows))
    after = sop.load_folder(write_domain(tmp_path / "new" / "tiny", rows=rows + b"one more,Open\n"))
    for split in get_args(sop.Split):
        kept = [task.id for task in sop.tasks(after, split) if task.input["case"]["key"] != "one more"]
        assert kept == [task.id for task in sop.tasks(before, split)]

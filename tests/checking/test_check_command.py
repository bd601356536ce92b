"""`mtrl check` as a user meets it: exit codes, JSON, sentences, and a SOP-Bench checkout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.environments import sop
from adapters.environments.sop.checkout import DATA_FOLDER
from mtrl.application import app
from tests.environments.folders import METADATA, spec, write_domain

STRING = {"type": "string"}
ONE_KEY = {"type": "object", "properties": {"key": STRING}, "required": ["key"]}
LOOKS_UP = """
class LookManager:
    BOOK = {"a": "Done", "b": "Gone", "c": None}

    def process_tool_call(self, name, given):
        status = self.BOOK[given["key"]]
        return {"key": given["key"]} if status is None else {"final status": status}
"""
ROWS = b"key,final status\na,Done\nb,Open\nc,Lost\nd,Done\n"
"""What tools show, what they contradict, what they show only for others, and what they refuse."""


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["check", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def _few(reference: str) -> list[str]:
    return ["--environment", reference, "--rollouts", "8", "--tasks", "2"]


def test_a_sound_environment_exits_0_with_one_object() -> None:
    code, out, _ = _run(*_few("tests.checking.broken:sound"), "--json")
    assert code == 0
    found = json.loads(out)
    assert found.keys() == {"environment", "domain", "checks"}
    assert (found["environment"], found["domain"]) == ("small", "only")
    for each in found["checks"]:
        assert each.keys() == {"id", "status", "evidence", "next"}
        assert each["status"] in ("pass", "warn")
    assert len(found["checks"]) == len({each["id"] for each in found["checks"]}) > 25


def test_a_broken_one_exits_1_and_the_table_says_what_to_do() -> None:
    code, out, shown = _run(*_few("tests.checking.broken:OverTheBound"))
    assert code == 1
    assert out == ""
    assert "shaping_bound" in shown
    assert "fail" in shown
    assert "Lower" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name --environment"),
        (["--environment", "sopp"], "Did you mean 'sop'"),
        (["--environment", "no.such:thing"], "Cannot make 'no.such:thing'"),
        (["--environment", "sop", "--domain", "return_desk"], "Did you mean 'returns_desk'"),
        (["--environment", "json:loads"], "Cannot make 'json:loads': TypeError: the JSON object must be"),
        (["--environment", "json:dumps"], "'json:dumps' makes str, which is no environment"),
        (["--environment", "sql", "--policy", "big"], "Unknown policy 'big'. Accepted: tiny, a checkpoint"),
        (
            ["--environment", "sql", "--policy", "openai:http://127.0.0.1:9/v1"],
            "127.0.0.1:9/v1/chat/completi",
        ),
        (["--environment", "sop", "--require-sealed"], "name them with --dataset"),
        (["--sop-bench", ".", "--dataset", "x.jsonl"], "name it with --domain"),
        (["--environment", "sop", "--dataset", "/no/such.jsonl"], "/no/such.jsonl"),
        (["--environment", "sql", "--sop-bench", "."], "belongs to the environment sop"),
        (["--sop-bench", "/no/such/folder"], "is no folder"),
    ],
)
def test_a_users_mistake_is_one_sentence(arguments: list[str], words: str) -> None:
    code, out, shown = _run(*arguments)
    assert code == 2
    assert words in " ".join(shown.split())
    assert (out, "Traceback" in shown) == ("", False)


def test_a_sample_of_the_tasks_proves_no_tool_unreachable() -> None:
    _, out, _ = _run("--environment", "sop", "--rollouts", "8", "--tasks", "1", "--json")
    (found,) = (each for each in json.loads(out)["checks"] if each["id"] == "tools_reachable")
    assert found["status"] == "warn"
    assert "1 of 300 tasks were demonstrated" in found["evidence"]
    assert "leave --tasks out" in found["next"]


def test_rows_of_another_environment_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"prompt": '{"environment": "sql", "input": {"a": 1}, "target": 1}'}) + "\n")
    code, _, shown = _run("--environment", "sop", "--dataset", str(file))
    assert code == 2
    assert "is of the environment 'sql', not 'sop'" in " ".join(shown.split())


def test_one_row_that_the_environment_refuses_is_named_and_costs_no_other_finding(tmp_path: Path) -> None:
    tasks = sop.create({}).tasks("returns_desk", "train")[:5]
    bad = replace(tasks[4], input={**tasks[4].input, "case": {}})
    file = tmp_path / "train.jsonl"
    rows = [json.dumps({"prompt": task.to_prompt()}) for task in (*tasks[:4], bad)]
    file.write_text("\n".join(rows))
    code, out, _ = _run("--environment", "sop", "--dataset", str(file), "--rollouts", "40", "--json")
    assert code == 1
    found = {each["id"]: each for each in json.loads(out)["checks"]}
    refused = found["tasks_playable"]
    assert refused["status"] == "fail"
    assert (
        f"1 of 5 tasks cannot be played; {file}: row 5: RequestError: prompt.input.case"
        in refused["evidence"]
    )
    for check in ("determinism", "isolation", "target_reachable", "reward_range"):
        assert found[check]["status"] == "pass", found[check]


def _checkout(tmp_path: Path, name: str = "tiny", **changes: Any) -> Path:
    write_domain(tmp_path / DATA_FOLDER / name, **changes)
    return tmp_path


def _survey(folder: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit code, the object of the one domain, and its checks by id."""
    code, out, _ = _run("--sop-bench", str(folder), "--accept-license", "--json")
    (line,) = out.splitlines()
    found = json.loads(line)
    return code, found, {each["id"]: each for each in found["checks"]}


def test_a_checkout_must_be_accepted(tmp_path: Path) -> None:
    code, _, shown = _run("--sop-bench", str(_checkout(tmp_path)))
    assert code == 2
    assert "CC BY-NC 4.0" in shown
    assert "--accept-license" in shown


def test_targets_are_held_against_what_tools_show(tmp_path: Path) -> None:
    code, found, checks = _survey(
        _checkout(tmp_path, tools=LOOKS_UP, rows=ROWS, specs=[spec("look", ONE_KEY)])
    )
    assert code == 1
    assert (found["environment"], found["domain"]) == ("sop", "tiny")
    counts = {name: found["targets"][name] for name in ("shown", "contradicted", "unreachable")}
    assert counts == {"shown": 1, "contradicted": 1, "unreachable": 1}
    assert found["targets"]["refused_by_every_tool"] == 1
    assert "the target has 'Open', tools show 'Gone'" in found["targets"]["examples"]["contradicted"]
    assert "first refusal" in found["targets"]["examples"]["refused by every tool"]
    assert found["targets"]["tools_that_refused"] == {"look": 1}
    assert checks["target_shown"]["status"] == "fail"
    # The demonstration of a checkout answers with the target: that it scores says only that it can.
    assert checks["target_reachable"]["status"] == "pass"


def test_what_no_tool_ever_shows_is_left_to_judgement(tmp_path: Path) -> None:
    code, found, checks = _survey(_checkout(tmp_path))
    assert (code, found["targets"]["left_to_judgement"]) == (0, 2)
    assert checks["target_shown"]["status"] == "pass"


def test_rows_that_contradict_each_other_are_counted(tmp_path: Path) -> None:
    _, found, _ = _survey(_checkout(tmp_path, rows=b"key,final status\na,Done\na,Open\nb,Open\n"))
    assert (found["targets"]["rows"], found["targets"]["tasks"]) == (3, 2)
    assert found["targets"]["inputs_with_different_targets"] == 1


@pytest.mark.parametrize(
    ("procedure", "status", "words"),
    [
        ("1. Do it.", "pass", "so does the prompt"),
        ("Answer in <final_output>.", "pass", "so does the prompt"),
        ("Answer in <final_response> tags.", "fail", "also asks for <final_response>"),
        ("End with <final status>Done</final status>.", "fail", "also asks for <final status>"),
        ("Such as {'final status': 'Done', 'reason': 'x'}", "warn", "also shows reason"),
        ("Report as <action : result>, <see the list of all>.", "pass", "so does the prompt"),
    ],
)
def test_the_procedures_own_example_is_held_against_the_scorer(
    tmp_path: Path, procedure: str, status: str, words: str
) -> None:
    folder = _checkout(tmp_path)
    (folder / DATA_FOLDER / "tiny" / "sop.txt").write_text(procedure)
    _, _, checks = _survey(folder)
    assert checks["answer_format"]["status"] == status
    assert words in checks["answer_format"]["evidence"]


def test_an_example_that_leaves_a_scored_field_out_fails(tmp_path: Path) -> None:
    metadata = {**METADATA, "output_columns": ["final status", "reason"]}
    rows = b"key,final status,reason\na,Done,x\nb,Open,y\n"
    folder = _checkout(tmp_path, metadata=metadata, rows=rows)
    (folder / DATA_FOLDER / "tiny" / "sop.txt").write_text("{'Final Status': 'Done'}")
    _, _, checks = _survey(folder)
    assert checks["answer_format"]["status"] == "fail"
    assert "leaves out reason" in checks["answer_format"]["evidence"]


def test_one_domain_of_a_checkout_gets_every_check(tmp_path: Path) -> None:
    folder = _checkout(tmp_path, rows=b"key,final status\n" + b"".join(b"k%d,Done\n" % n for n in range(20)))
    code, out, _ = _run(
        "--sop-bench", str(folder), "--domain", "tiny", "--accept-license", "--rollouts", "8", "--json"
    )
    found = json.loads(out)
    assert code in (0, 1)
    assert {"determinism", "teardown", "reward_order"} <= {each["id"] for each in found["checks"]}
    by_id = {each["id"]: each["status"] for each in found["checks"]}
    assert (by_id["determinism"], by_id["isolation"], by_id["teardown"]) == ("pass", "pass", "pass")


def test_all_domains_make_a_table(tmp_path: Path) -> None:
    folder = _checkout(_checkout(tmp_path), "other")
    code, out, shown = _run("--sop-bench", str(folder), "--accept-license")
    assert (code, out) == (0, "")
    assert "other" in shown
    assert "tiny" in shown
    assert "contradicted" in shown

"""`mtrl evaluate --local` as a user runs it: real processes, real signals, and the exit codes of mistakes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.contract import RewardTerms
from adapters.environments.sop import SopEnvironment
from mtrl.application import app
from mtrl.commands import evaluate as command
from mtrl.evaluating.plan import EvaluationPlan
from mtrl.evaluating.run import _hyperparameters
from mtrl.rehearsing.plan import PlanError
from rehearsal.policies.tiny import TinyPolicy
from tests.policies.converse_server import converse_server, refused, said

ROOT = Path(__file__).parents[2]
FEW = ("--domain", "returns_desk", "--limit", "6", "--group", "2")


def start(out: Path, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mtrl", "evaluate", "--local", "--json", "--out", str(out), *arguments]
    environ = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **more}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environ
    )


def evaluate(out: Path, *arguments: str, **more: str) -> dict[str, Any]:
    running = start(out, *arguments, **more)
    told, errors = running.communicate(timeout=240)
    assert running.returncode == 0, errors
    result: dict[str, Any] = json.loads(told.splitlines()[-1])
    return result


def mistake(*arguments: str) -> str:
    """What a command says that must end with exit code 2; in this process, since nothing is started."""
    done = CliRunner().invoke(app, ["evaluate", "--local", *arguments])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a rehearsal, as far as an evaluation is concerned: surer of itself than the prior."""
    folder = tmp_path_factory.mktemp("rehearsal")
    parameters = (TinyPolicy().parameters * 1.5).tolist()
    (folder / "checkpoint.json").write_text(json.dumps({"step": 1, "parameters": parameters}))
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("compared") / "out"
    return out, evaluate(out, *FEW, "--policy", "tiny", "--compare", str(checkpoint))


def test_the_json_has_the_promised_names(compared: tuple[Path, dict[str, Any]]) -> None:
    out, result = compared
    assert {
        "score", "ci95", "completion", "pass_at_k", "pass_power_k", "per_field", "tasks", "rollouts",
    } <= result.keys()  # fmt: skip
    assert (result["tasks"], result["rollouts"], result["played"]) == (6, 12, 24)
    assert list(result["pass_at_k"]) == list(result["pass_power_k"]) == ["1", "2"]
    assert result["ci95"][0] <= result["score"] <= result["ci95"][1]
    assert set(result["per_field"]) == set(result["per_field_ci95"]) > {"eligibility"}
    assert json.loads((out / "evaluation.json").read_text()) == result


def test_the_comparison_is_of_both_policies(compared: tuple[Path, dict[str, Any]]) -> None:
    _, result = compared
    found = result["comparison"]
    assert found["tasks"] == found["better"] + found["worse"] + found["equal"] == 6
    assert found["other"]["rollouts"] == 12
    assert found["difference"] == pytest.approx(found["other"]["score"] - result["score"])
    assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
    assert 0 < found["p"] <= 1
    # The second policy is really the checkpoint: sharper, so it plays otherwise.
    assert found["other"]["service"] != result["service"]


def test_our_figures_are_those_of_the_service_s_own_job(compared: tuple[Path, dict[str, Any]]) -> None:
    out, result = compared
    metrics = json.loads((out / "policies/0/1/jobs/evaluation/metrics.jsonl").read_text())
    theirs = {n: v for n, v in metrics.items() if n.startswith(("eval/reward/", "eval/turns/"))}
    assert result["service"] == pytest.approx(theirs)


def test_the_files_hold_what_was_played(compared: tuple[Path, dict[str, Any]]) -> None:
    out, result = compared
    records = [json.loads(line) for line in Path(result["transcripts"]).read_text().splitlines()]
    assert len(records) == 24
    first = [r["score"] for r in records if r["policy"] == "tiny"]
    assert sum(first) / len(first) == pytest.approx(result["score"])
    page = (out / "report.html").read_text()
    assert "sop/returns_desk" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def table(result: dict[str, Any]) -> dict[str, Any]:
    """All that must not depend on when and in how many pieces it was played."""
    return {k: v for k, v in result.items() if k not in ("seconds", "played", "report", "transcripts")}


def wait_for_rollouts(out: Path, run: int, count: int, running: "subprocess.Popen[str]") -> None:
    log = out / f"policies/0/{run}/adapter.log"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b'"event":"rollout"') >= count):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_what_was_interrupted_and_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Ctrl-C, then `kill -9`, then the rest: the same table as in one go."""
    out = tmp_path / "pieces"
    arguments = ("--domain", "returns_desk", "--limit", "20", "--group", "3", "--seed", "5")
    slow = ("--concurrency", "1")

    running = start(out, *arguments, *slow)
    wait_for_rollouts(out, 1, 4, running)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "of 20 tasks are played and kept" in errors
    assert "--resume plays the others" in errors
    assert "Traceback" not in errors
    assert "unfinished evaluation" in mistake("--out", str(out), *arguments)

    running = start(out, *arguments, *slow, "--resume")
    wait_for_rollouts(out, 2, 4, running)
    service = json.loads((out / "policies/0/2/service.log").read_text().splitlines()[0])["pid"]
    running.kill()
    running.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while not gone(service):  # killed, and still it leaves nobody behind
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert "temperature 1.0, now 0.5" in mistake(
        "--out", str(out), *arguments, "--resume", "--temperature", "0.5"
    )
    resumed = evaluate(out, *arguments, "--resume")
    # Of the two broken runs at least one task each was kept, and not all was.
    assert 0 < resumed["played"] <= 18 * 3
    rows = {run: (out / f"policies/0/{run}/tasks.jsonl").read_text().count("\n") for run in (1, 2, 3)}
    assert rows[1] == 20 > rows[2] > rows[3] > 0
    assert resumed["played"] == rows[3] * 3
    assert table(resumed) == table(evaluate(tmp_path / "whole", *arguments))
    again = evaluate(out, *arguments, "--resume")
    assert (again["played"], table(again)) == (0, table(resumed))


def test_a_model_on_bedrock(tmp_path: Path) -> None:
    """The whole command over the Converse protocol; the model answers at once, and wrongly."""
    with converse_server() as server:
        server.answer = lambda _: said({"text": "<final_output>{}</final_output>"})
        environ = {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url, "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
        }  # fmt: skip
        arguments = (
            "--domain",
            "returns_desk",
            "--limit",
            "2",
            "--group",
            "1",
            "--policy",
            "bedrock:some.model",
        )
        result = evaluate(tmp_path, *arguments, **environ)
    assert (result["score"], result["completion"], result["stop_reasons"]) == (0.0, 1.0, {"answered": 2})
    assert server.breaches == []
    assert len(server.requests) == 3  # one to see whether it answers
    assert server.requests[-1]["toolConfig"]["tools"]
    assert set(server.models) == {"some.model"}


def test_a_bedrock_that_refuses_is_a_mistake_before_anything_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with converse_server() as server:
        server.answer = lambda _: refused(403, "AccessDeniedException", "no access to this model")
        for name, value in {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url, "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        text = mistake("--out", str(tmp_path), "--policy", "bedrock:some.model")
    assert "no access to this model" in text
    assert "Nothing was played" in text


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        (["--domain", "returns_dsk"], "Did you mean 'returns_desk'?"),
        (["--environment", "so"], "Did you mean 'sop'?"),
        (["--split", "dev"], "--split 'dev' is none of train, validation, test."),
        (["--policy", "tinny"], "Unknown policy 'tinny'. Accepted: tiny, a checkpoint"),
        (["--policy", "scripted:/does/not/exist"], "Cannot read the script"),
        (["--policy", "/does/not/exist.json"], "Cannot read the checkpoint"),
        (["--compare", "tiny"], "--compare names the same policy"),
        (["--policy", "openai:http://127.0.0.1:9/v1"], "cannot be used"),
        (["--dataset", "/does/not/exist.jsonl"], "there is no such file"),
        (["--dataset", "x.jsonl", "--split", "test"], "leave --domain and --split out"),
        (["--sop-bench", "/does/not/exist"], "is no folder"),
        (["--resume"], "there is no evaluation in"),
        (["--policy", "bedrock:x", "--temperature", "1.5"], "Bedrock takes 0 to 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], said_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert said_ in mistake("--out", str(tmp_path / "out"), *arguments)
    assert not (tmp_path / "out/policies").exists()
    assert not (tmp_path / "out/configuration.json").exists()


@pytest.mark.parametrize(
    ("rows", "said_"),
    [
        ([{"id": "1", "input": {"a": 1}, "target": 1}, {"id": "2", "input": {"a": 2}}], "1 of 2 rows have"),
        (["just text"], "have no target"),
        ([{"id": "1", "input": {"a": 1}, "target": 1, "environment": "sql"}], "is of the environment 'sql'"),
        ([{"id": "1", "input": {"a": n}, "target": 1} for n in (1, 2)], "One id for different tasks"),
        ([{"id": str(n), "input": {"a": 1}, "target": n} for n in (1, 2)], "Duplicate rows"),
        ([{"id": "1", "input": {}, "target": {"sealed": {"v": 1}}}], "Name the key ring with --keys"),
        ([], "no task in it"),
        (
            [{"id": "1", "input": {"domain": "nobodys", "case": {"a": 1}}, "target": {"x": "1"}}],
            "data.jsonl: row 1: prompt.input.domain: unknown domain 'nobodys'. Known: lab_intake,",
        ),
    ],
)  # fmt: skip
def test_a_data_set_that_cannot_be_scored(rows: list[Any], said_: str, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    prompts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    data.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    assert said_ in mistake("--dataset", str(data), "--out", str(tmp_path / "out"))


def test_keys_that_open_nothing_are_a_mistake_if_they_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert "no target is sealed, so nothing is to be opened" in mistake("--keys", "foo", *out)
    monkeypatch.setenv("MTRL_SEAL_KEYS", "foo")  # for other commands
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be used" in mistake("--port", str(taken.getsockname()[1]), *out)


def test_a_checkpoint_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    for body, said_ in (
        ("{", "is no checkpoint"),
        ('{"step": 1}', "no list of `parameters`"),
        ('{"parameters": [1.0]}', "has"),
        ('{"parameters": ["x"]}', "is no checkpoint"),
    ):
        path.write_text(body)
        assert said_ in mistake("--policy", str(path), "--out", str(tmp_path / "out"))


def test_a_port_in_use_is_a_mistake(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"--port {port} cannot be used" in mistake("--port", port, "--out", str(tmp_path / "out"))


def test_the_job_gets_the_success_that_the_environment_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []

    def stop(plan: EvaluationPlan, _: object) -> None:
        plans.append(plan)
        raise PlanError("Enough.")

    monkeypatch.setattr(command, "_run", stop)
    monkeypatch.setattr(SopEnvironment, "reward_terms", RewardTerms(success=0.7))
    assert "Enough." in mistake("--out", str(tmp_path / "out"))
    assert _hyperparameters(plans[0])["success_threshold"] == "0.7"
    assert plans[0].success == 0.7


def test_where_must_be_said() -> None:
    done = CliRunner().invoke(app, ["evaluate"])
    assert done.exit_code == 2
    assert "mtrl evaluate --local" in done.stderr

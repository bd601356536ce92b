"""`mtrl rehearse` as a user runs it: a real process, real files, and the exit codes of mistakes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mtrl.rehearsing.holding import held
from mtrl.rehearsing.jobs import JobsClient
from mtrl.rehearsing.plan import EPOCHS
from rehearsal.policies.tiny import TinyPolicy
from rehearsal.service.models import make_policy
from rehearsal.trainer.hyperparameters import TrainingHyperparameters

ROOT = Path(__file__).parents[2]


def mtrl(*arguments: str, timeout: float = 900) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mtrl", *arguments]
    environ = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environ, check=False
    )


def rehearse(out: Path, *arguments: str) -> dict[str, Any]:
    done = mtrl("rehearse", "--json", "--out", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("learned")
    return out, rehearse(out, "--domain", "returns_desk", "--seed", "1", "--steps", "20")


def test_an_agent_learns(learned: tuple[Path, dict[str, Any]]) -> None:
    _, result = learned
    assert 0 < result["base"]["score"] < 0.3
    assert result["trained"]["score"] >= 0.9
    assert (result["disagreements"], result["steps"]) == (0, 20)


def test_the_json_has_the_promised_names(learned: tuple[Path, dict[str, Any]]) -> None:
    out, result = learned
    assert {
        "environment", "domain", "seed", "steps", "seconds", "base", "trained", "rollouts", "stop_reasons",
        "report", "metrics", "transcripts", "checkpoint",
    } <= result.keys()  # fmt: skip
    for name in ("base", "trained"):
        assert {"score", "reward", "pass_at_k"} <= result[name].keys()
        assert list(result[name]["pass_at_k"]) == ["1", "2", "4"]
    assert result["stop_reasons"]["answered"] <= result["rollouts"]
    assert sum(result["stop_reasons"].values()) == result["rollouts"]
    for name in ("report", "metrics", "transcripts", "checkpoint"):
        assert Path(result[name]).parent == out


def test_the_trained_policy_is_left_as_a_checkpoint(learned: tuple[Path, dict[str, Any]]) -> None:
    out, result = learned
    assert json.loads(Path(result["checkpoint"]).read_text())["step"] == 20
    trained, base = make_policy(f"tiny:{out / 'checkpoint.json'}"), make_policy("tiny")
    assert isinstance(trained, TinyPolicy)
    assert isinstance(base, TinyPolicy)
    assert abs(trained.parameters - base.parameters).max() > 0.1


def test_the_files_hold_what_was_measured(learned: tuple[Path, dict[str, Any]]) -> None:
    out, result = learned
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 21))
    assert metrics[-1]["rollout/score/mean"] > metrics[0]["rollout/score/mean"] + 0.5
    assert {"val/reward/mean", "val/score/mean"} <= metrics[4].keys()
    assert all(line["training/num_trajectories"] == 32 * 8 for line in metrics)
    transcripts = [json.loads(line) for line in (out / "transcripts.jsonl").read_text().splitlines()]
    trained = [t["score"] for t in transcripts if t["phase"] == "trained"]
    assert sum(trained) / len(trained) == pytest.approx(result["trained"]["score"])
    jobs = json.loads((out / "job.json").read_text())
    assert [job["JobStatus"] for job in jobs] == ["Completed"] * 3
    report = (out / "report.html").read_text()
    assert "returns_desk" in report
    assert "http" not in report.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    def metrics(name: str) -> list[dict[str, float]]:
        rehearse(tmp_path / name, "--steps", "1", "--seed", "3")
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        return [{k: v for k, v in row.items() if not k.startswith("timing_s/")} for row in rows]

    assert metrics("first") == metrics("second")


def test_sigterm_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mtrl", "rehearse", "--out", str(tmp_path / "out")]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    service_log = tmp_path / "out/work/service.log"
    deadline = time.monotonic() + 60
    while not (service_log.exists() and service_log.read_text().endswith("}\n")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    service = json.loads(service_log.read_text().splitlines()[-1])["pid"]
    running.terminate()
    running.communicate(timeout=60)
    assert running.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(service, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--domain", "returns_dsk"], "Did you mean 'returns_desk'?"),
        (["--environment", "so"], "Did you mean 'sop'?"),
        (["--sop-bench", "/does/not/exist"], "is no folder"),
        (
            ["--policy", "tinny"],
            "Unknown policy 'tinny'. Accepted: tiny, a checkpoint (or a rehearsal's folder)",
        ),
        (["--policy", "openai:http://127.0.0.1:9/v1", "--steps", "0"], "cannot be used: Cannot connect to"),
        (["--policy", "scripted:/does/not/exist"], "Cannot read the script"),
        (["--policy", "openai:nowhere"], "is no URL"),
        (["--steps", "151"], "enough for 150 (30 epochs, the service's maximum"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = mtrl("rehearse", "--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = mtrl("rehearse", "--steps", "0", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mtrl: --out {tmp_path}/out: Not a directory. Choose another folder.\n"
    assert (tmp_path / "out").read_text() == "mine"


def test_the_folder_of_a_rehearsal_is_a_policy(learned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    before, result = learned
    found = rehearse(tmp_path / "again", "--policy", str(before), "--steps", "0", "--domain", "returns_desk")
    assert found["base"]["score"] == pytest.approx(result["trained"]["score"], abs=0.1)


def test_an_unaccepted_licence_is_shown_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "src/amazon_sop_bench/benchmarks/data/somewhere"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text("{}")
    done = mtrl("rehearse", "--sop-bench", str(tmp_path), "--domain", "somewhere")
    assert done.returncode == 2
    assert "CC BY-NC 4.0" in done.stderr
    assert "--accept-license" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkout_is_evaluated_and_not_trained_on(tmp_path: Path) -> None:
    """The folder stands for a user's checkout: one of our own domains, in the layout of a checkout."""
    shipped = ROOT / "adapters/environments/sop/domains/lab_intake"
    folder = tmp_path / "checkout/src/amazon_sop_bench/benchmarks/data/lab_copy"
    folder.mkdir(parents=True)
    for file in shipped.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "LICENSE.md").write_text("Only for the owner's friends.\n")
    out = tmp_path / "out"
    done = mtrl(
        "rehearse", "--json", "--out", str(out), "--sop-bench", str(tmp_path / "checkout"),
        "--domain", "lab_copy", "--accept-license",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["trained"] is None
    assert result["rollouts"] == result["base"]["rollouts"] > 0
    assert "Only for the owner's friends." in done.stderr
    assert "--train-under-owners-license" in done.stderr
    assert (out / "report.html").exists()


def test_a_metrics_line_that_is_being_written_is_left_for_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    metrics = tmp_path / "job/metrics.jsonl"
    client = JobsClient("http://127.0.0.1:9", tmp_path)
    assert client.metrics("job") == []
    metrics.write_text('{"step": 1}\n{"step": 2, "rollout/rew')
    assert client.metrics("job") == [{"step": 1}]
    metrics.write_text('{"step": 1}\n{"step": 2}\n')
    assert client.metrics("job") == [{"step": 1}, {"step": 2}]


def test_two_rehearsals_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    written = tmp_path / "work/adapter.log"
    written.parent.mkdir()
    written.write_text("of the first\n")
    with held(tmp_path):
        done = mtrl("rehearse", "--out", str(tmp_path), "--steps", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Another command is at work in" in done.stderr
    assert written.read_text() == "of the first\n"


def test_as_many_epochs_as_the_service_takes() -> None:
    assert TrainingHyperparameters.TABLE["max_epochs"].high == EPOCHS

"""A hacked reward shows while it is trained on: in the terminal, in the metrics, in the report."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import RewardTerms
from mtrl.rehearsing.results import first_disagreement
from mtrl.rehearsing.watching import Watch
from tests.probing.plugin import install, mtrl

STEPS = 1


def line(rollout: str, reward: float, score: float, job: str = "training") -> bytes:
    fields: dict[str, Any] = {"event": "rollout", "job_name": job, "rollout_id": rollout}
    return json.dumps({**fields, "Reward": reward, "Score": score}).encode() + b"\n"


def test_a_rehearsal_of_a_hacked_reward_raises_the_signal_in_the_first_steps(tmp_path: Path) -> None:
    environ = install(tmp_path / "plugin")
    arguments = [
        "--environment",
        "rehearsed",
        "--steps",
        str(STEPS),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    done = mtrl(environ, "rehearse", *arguments)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["disagreements"] > 0
    assert figures["first_disagreement_step"] in range(1, STEPS + 1)
    assert "warning: reward and score disagree in training step " in done.stderr
    assert "rollouts were rewarded as a success and scored 0, in training from step" in done.stderr
    assert "mtrl probe --environment rehearsed --domain returns_desk" in done.stderr
    history = [json.loads(text) for text in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    counts = [each["rollout/disagreement/count"] for each in history]
    assert len(counts) == STEPS
    assert sum(counts) > 0
    report = (tmp_path / "out/report.html").read_text()
    assert "Rewarded at score 0</h3>" in report
    assert "read these first" in report


def test_only_whole_lines_of_the_job_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "adapter.log"
    log.write_bytes(line("train-0-1-0", 1.0, 0.0) + b"no json\n{half\n" + line("x-0-1-0", 1.0, 0.0, "other"))
    watch = Watch(log, "training", RewardTerms())
    watch.look()
    assert (watch.rollouts, watch.in_doubt, dict(watch.steps)) == (1, 1, {1: 1})
    with log.open("ab") as out:
        out.write(line("train-3-1-0", 1.0, 0.0)[:-10])
    watch.look()
    assert watch.rollouts == 1
    with log.open("ab") as out:
        out.write(line("train-3-1-0", 1.0, 0.0)[-10:] + line("val-3-1-0", 1.0, 0.0))
    watch.look()
    assert (watch.rollouts, watch.in_doubt, dict(watch.steps)) == (3, 3, {1: 1, 4: 1})


@pytest.mark.parametrize(("success", "count"), [(1.0, 0), (0.8, 1)])
def test_success_is_what_the_environment_declares(tmp_path: Path, success: float, count: int) -> None:
    log = tmp_path / "adapter.log"
    log.write_bytes(line("train-0-1-0", 0.9, 0.0) + line("train-0-1-1", 0.9, 0.5))
    watch = Watch(log, "training", RewardTerms(success=success))
    watch.look()
    assert watch.in_doubt == count


def test_the_first_step_is_the_first_with_any() -> None:
    name = "rollout/disagreement/count"
    assert first_disagreement([{"step": 1, name: 0}, {"step": 2, name: 3}, {"step": 3, name: 9}]) == 2
    assert first_disagreement([{"step": 1, name: 0}]) is None

"""One EMF line a rollout; what is kept in the archive; what is never written."""

import json
import math
import stat
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Outcome, Reward, RewardTerms, Score, StopReason, Transcript
from adapters.runtime.archive import FileArchive
from adapters.runtime.fakes import Answer, FakeEnvironment, FakeJobRuntime, assistant, raises, tool_call
from adapters.runtime.telemetry import RolloutLine
from tests.runtime.kit import EVALUATION, JOB, adapter, request


class NumpyLike(float):
    """As numpy.float64: a float that orjson does not take for one."""


def check_emf(line: dict[str, Any]) -> None:
    """The structure that CloudWatch asks for (Embedded Metric Format specification)."""
    aws = line["_aws"]
    assert isinstance(aws["Timestamp"], int)
    assert aws["Timestamp"] > 1_700_000_000_000
    (directive,) = aws["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        value = line[metric["Name"]]
        assert isinstance(value, int | float)
        assert not isinstance(value, bool)
        assert math.isfinite(value)
        assert metric["Unit"] in ("None", "Seconds", "Count")
    for dimensions in directive["Dimensions"]:
        assert "rollout_id" not in dimensions
        assert all(isinstance(line[name], str) for name in dimensions)
    assert line["rollout_id"] not in json.dumps(aws)


@pytest.mark.parametrize(
    "environment",
    [
        FakeEnvironment(reward=Reward(0.5, {"outcome": 0.5}), score=Score(1.0, {"field": True})),
        FakeEnvironment(
            reward=Reward(NumpyLike(0.5), {"outcome": NumpyLike(0.5)}), score=Score(NumpyLike(1.0))
        ),
        FakeEnvironment(reward=ValueError(), score=ValueError()),
    ],
)
async def test_each_rollout_is_one_line_of_metrics(
    service: FakeJobRuntime, environment: FakeEnvironment
) -> None:
    async with adapter(service, environment) as own:
        outcome = await own.rollouts.run(request())
        line = own.metrics()
    check_emf(line)
    assert line["Environment"] == "fake"
    assert (line["Rollouts"], line["Turns"], line["Failed"]) == (1, 1, 0)
    assert json.loads(json.dumps(outcome.to_wire()))["status"] == "completed"
    assert all(type(value) is float for value in outcome.rewards)
    assert type(outcome.score) in (float, type(None))


async def test_failed_and_expired_rollouts_have_their_line(service: FakeJobRuntime) -> None:
    service.script("sample", Answer(400))
    async with adapter(service) as own:
        await own.rollouts.run(request())
        await own.rollouts.run(request("r2", received_at=1))
        for line in own.log("rollout"):
            check_emf(line)
            assert (line["Failed"], "Reward" in line) == (1, False)


async def test_prompts_and_targets_are_never_written(service: FakeJobRuntime) -> None:
    secret = RuntimeError("the target is TARGET-7, the prompt was PROMPT-9")
    service.policy = lambda _: assistant("PROMPT-9 and TARGET-7", tool_call("look"))
    for number, environment in enumerate(
        [
            FakeEnvironment(tools={"look": raises(secret)}),
            FakeEnvironment(reward=secret, score=secret),
            FakeEnvironment(),
        ]
    ):
        async with adapter(service, environment) as own:
            await own.rollouts.run(request(f"r{number}", text="PROMPT-9"))
            text = own.stream.getvalue()
        assert "TARGET-7" not in text
        assert "PROMPT-9" not in text


async def test_where_a_plug_in_failed_is_written(service: FakeJobRuntime) -> None:
    async with adapter(service, FakeEnvironment(reward=KeyError("column")), log_level="DEBUG") as own:
        await own.rollouts.run(request())
        (line,) = own.log("grading_failed")
        assert (line["error"], line["where"].split(":")[0]) == ("KeyError", "fakes.py")
        assert "column" not in own.stream.getvalue()  # its words may hold the prompt or the target


@pytest.mark.parametrize(("success", "disagrees"), [(1.0, False), (0.8, True)])
def test_success_is_what_the_environment_declares(success: float, disagrees: bool) -> None:
    outcome = Outcome(StopReason.ANSWERED, "ready", (0.9,))
    terms = RewardTerms(success=success)
    line = RolloutLine(request(), Transcript(), outcome, Reward(0.9), Score(0.0), 0.0, terms)
    assert line.disagrees is disagrees
    assert line.metrics()["RewardScoreDisagreement"] == disagrees


class EasilyPleased(FakeEnvironment):
    reward_terms = RewardTerms(success=0.8)


async def test_a_rollout_is_held_to_its_environments_own_success(service: FakeJobRuntime) -> None:
    for environment, disagrees in ((EasilyPleased, 1), (FakeEnvironment, 0)):
        async with adapter(service, environment(reward=0.9, score=0.0)) as own:
            await own.rollouts.run(request(f"r{disagrees}"))
            assert own.metrics()["RewardScoreDisagreement"] == disagrees


async def test_the_archive_keeps_evaluations_and_disagreements(
    service: FakeJobRuntime, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    archive = FileArchive(folder)
    cases = [("plain", JOB, 1.0, 1.0), ("hacked", JOB, 1.0, 0.0), ("poor", JOB, 0.5, 0.0)]
    cases.append(("eval", EVALUATION, 0.0, 0.0))
    for name, job, reward, score in cases:
        environment = FakeEnvironment(reward=reward, score=score)
        async with adapter(service, environment, archive=archive) as own:
            await own.rollouts.run(request(name, job=job))
            assert own.metrics()["RewardScoreDisagreement"] == (name == "hacked")
    files = {path.name: path for path in folder.iterdir()}
    assert set(files) == {"desk-1.jsonl", "desk-eval.jsonl"}
    kept = [json.loads(line) for path in files.values() for line in path.read_text().splitlines()]
    assert {record["rollout_id"] for record in kept} == {"hacked", "eval"}
    assert all([m["role"] for m in record["messages"]] == ["system", "user", "assistant"] for record in kept)
    assert "TARGET-7" not in "".join(path.read_text() for path in files.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_full_disk_does_not_cost_a_rollout(service: FakeJobRuntime, tmp_path: Path) -> None:
    archive = FileArchive(tmp_path / "archive")
    (tmp_path / "archive").rmdir()
    async with adapter(service, archive=archive) as own:
        outcome = await own.rollouts.run(request(job=EVALUATION))
        assert own.log("not_logged")
    assert outcome.sealed == "ready"

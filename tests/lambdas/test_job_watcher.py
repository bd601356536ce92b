"""The job watcher against real parts: what it measures and tells of each thing that can happen to a job.

One test runs a job of the stand-in from its start to its end; the others move it by hand.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lambdas.job_watcher_room import (
    JOB,
    Cloud,
    Line,
    Room,
    emulated,
    refuse,
    watching,
)
from tests.service.stand_in import AgentServer, StandIn, dataset, training
from tests.service.test_control_plane import EVALUATION, OUTPUT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with emulated(tmp_path_factory.mktemp("aws") / "log") as made:
        yield made


@pytest.fixture
def room(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Room]:
    with watching(cloud, tmp_path / "jobs", monkeypatch, capsys) as made:
        yield made


def test_a_running_job_is_measured_and_told_of_once(room: Room) -> None:
    arn = room.service.create(JOB)
    assert room.tick() == {"running": 1, "stalled": 0, "told": 1}
    assert (room.metric("JobsRunning"), room.metric("JobStalled")) == ([1], [0])
    (notice,) = room.cloud.notices()
    assert notice["Subject"] == "desk-1 started (dev-desk)"
    assert notice["MessageAttributes"]["job"]["Value"] == JOB
    assert "InProgress (Starting)" in notice["Message"]
    assert arn in notice["Message"]
    # As docs/deployment.md has it: drained workers hand their rollouts over.
    assert "Do not deploy" not in notice["Message"]
    assert "Change code while a job runs" in notice["Message"]

    room.move(step=2, train=100)
    assert room.tick()["told"] == 0
    assert (room.metric("BillableTokens"), room.metric("BillableTokensSoFar")) == ([303], [303])
    room.move(step=3, train=110)
    room.clock.ahead += 60
    room.tick()
    (line,) = [line for line in room.lines if line["event"] == "job"]
    assert line["BillableTokens"] == 30
    parts = ("BillableTrainTokens", "BillablePrefillTokens", "BillableSampleTokens")
    assert [line[name] for name in parts] == [10, 20, 0]
    assert (line["BillableTokensSoFar"], line["StepsDone"], line["JobProgress"]) == (333, 3, 0.3)
    assert line["SecondsSinceProgress"] == 0
    room.clock.ahead += 60
    room.tick()
    assert room.metric("BillableTokens") == [0]
    assert room.metric("SecondsSinceProgress") == [pytest.approx(60, abs=10)]
    assert room.cloud.news() == []


def test_tokens_that_fall_back_are_not_counted_twice(room: Room) -> None:
    room.service.create(JOB)
    counted = []
    for train in (100, 40, 110):
        room.move(train=train)
        room.tick()
        counted += room.metric("BillableTokens")
    assert counted == [303, 0, 30]


def test_a_line_is_a_metric_by_deployment_alone(room: Room) -> None:
    room.service.create(JOB)
    room.move(step=1, train=5)
    room.tick()
    for line in room.lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("dev-desk", [["Deployment"]])
        assert line["Deployment"] == "dev-desk"
        assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60
        for metric in directive["Metrics"]:
            assert isinstance(line[metric["Name"]], int | float)
            assert metric["Unit"] in ("Count", "Seconds", "None")
    assert {line.get("job_name") for line in room.lines} == {None, JOB}


def test_a_completed_job_is_told_of_and_then_left_alone(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = room.service.create(JOB)
    room.move(step=10, train=7)
    room.tick()
    room.move(step=10, train=9, OutputModelPackageArn=OUTPUT)
    room.service.finish(JOB)
    assert room.tick() == {"running": 0, "stalled": 0, "told": 1}
    assert (room.metric("BillableTokens"), room.metric("JobFailed")) == ([6], [])
    assert (room.metric("JobProgress"), room.metric("SecondsSinceProgress")) == ([1], [])
    _, notice = room.cloud.notices()
    assert notice["Subject"] == "desk-1 completed (dev-desk)"
    for fact in (
        "step 10 of 10",
        "30 billable (train 9, prefill 18, sample 3)",
        OUTPUT,
        "Ended:",
        "Next act:",
    ):
        assert fact in notice["Message"]
    assert float(room.item(arn)["expires_on"]["N"]) == pytest.approx(time.time() + 30 * 86400, abs=600)

    refuse(room, monkeypatch, JOB)  # it would show if the job were described once more
    assert room.tick() == {"running": 0, "stalled": 0, "told": 0}
    assert [line["event"] for line in room.lines] == ["jobs"]


@pytest.mark.parametrize(
    ("status", "metric", "page"),
    [("Failed", "JobFailed", "job-failed.md"), ("Stopped", "JobStopped", "job-stopped.md")],
)
def test_an_end_that_nobody_wants_names_its_reason_and_its_page(
    room: Room, status: str, metric: str, page: str
) -> None:
    room.service.create(JOB)
    room.tick()
    room.service.finish(JOB, status, "the rollout said: sesame")
    room.tick()
    assert room.metric(metric) == [1]
    assert "sesame" not in json.dumps(room.lines), "a reason may quote a rollout"
    _, notice = room.cloud.notices()
    assert "sesame" in notice["Message"]
    (named,) = re.findall(r"docs/runbooks/\S+", notice["Message"])
    assert named.endswith(page)
    assert (ROOT / named).exists()
    room.tick()
    assert room.metric(metric) == []
    assert room.cloud.news() == []


def test_a_job_that_came_and_went_between_two_ticks_is_told_of(room: Room) -> None:
    room.service.create(JOB)
    room.service.finish(JOB, "Failed", "no")
    room.tick()
    assert room.metric("JobFailed") == [1]
    assert room.cloud.news() == ["failed"]


def test_a_stall_and_its_end_are_told_once_each(room: Room) -> None:
    room.service.create(JOB)
    room.move(step=1, train=1)
    room.tick()
    for _ in range(2):
        room.clock.ahead += 14 * 60
        assert room.tick()["stalled"] == 0
    room.move(step=1, train=50)  # tokens without a step are no progress
    room.clock.ahead += 3 * 60
    assert room.tick()["stalled"] == 1
    assert room.metric("SecondsSinceProgress") == [pytest.approx(31 * 60, abs=30)]
    assert room.metric("JobStalled") == [1]
    room.clock.ahead += 60
    assert room.tick() == {"running": 1, "stalled": 1, "told": 0}
    _, notice = room.cloud.notices()
    assert "no progress for 31 min" in notice["Message"]
    assert (ROOT / re.findall(r"docs/runbooks/\S+", notice["Message"])[0]).exists()

    room.move(step=2, train=60)
    assert room.tick() == {"running": 1, "stalled": 0, "told": 1}
    assert (room.metric("JobStalled"), room.metric("SecondsSinceProgress")) == ([0], [0])
    room.clock.ahead += 31 * 60
    room.tick()
    assert room.cloud.news() == ["resumed", "stalled"]


def test_a_stalled_job_that_is_stopped_did_not_resume(room: Room) -> None:
    room.service.create(JOB)
    room.tick()
    room.clock.ahead += 31 * 60
    room.tick()
    room.service.client.stop_job(JobName=JOB, JobCategory="AgentRFT")
    assert room.tick() == {"running": 1, "stalled": 0, "told": 0}
    room.service.finish(JOB, "Stopped")
    room.tick()
    assert room.cloud.news() == ["started", "stalled", "stopped"]


def test_restarting_again_and_again_is_no_progress(room: Room) -> None:
    room.service.create(JOB)
    for phase in ("Training", "Restarting", "Training", "Restarting", "Training"):
        room.phase(phase)
        room.tick()
        room.clock.ahead += 11 * 60
    room.tick()
    assert room.cloud.news() == ["started", "stalled"]


def test_an_evaluation_without_steps_progresses_by_its_tokens(room: Room) -> None:
    room.service.create(JOB, EVALUATION, JobCategory="AgentRFTEvaluation")
    record = room.service.record(JOB, "AgentRFTEvaluation")
    for tokens in (10, 20, 30):
        usage = {"BillableTokenUsage": {"SampleTokenCount": tokens}}
        room.service.call(lambda usage=usage: room.service.jobs.progress(record, service_output=usage))
        assert room.tick()["stalled"] == 0
        assert room.metric("JobProgress") == []
        room.clock.ahead += 20 * 60
    room.clock.ahead += 20 * 60
    assert room.tick()["stalled"] == 1
    room.service.call(room.service.jobs.finish, record, "Completed")
    room.tick()
    assert "against those of the base model" in room.cloud.notices()[-1]["Message"]


def test_a_document_that_cannot_be_read_still_has_a_status(room: Room) -> None:
    room.service.create(JOB)
    room.move(BillableTokenUsage={"TrainTokenCount": "many", "SampleTokenCount": None}, ProgressInfo=[1])
    room.tick()
    room.service.finish(JOB, "Failed", "no")
    room.tick()
    assert room.cloud.news() == ["started", "failed"]


def test_every_page_is_read_and_only_jobs_of_the_prefix(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.module.jobs, "PAGE", 2)
    for name in ("desk-a", "desk-b", "other-desk-c", "desk-d", "desk-e", "desks"):
        room.service.create(name)
        room.service.finish(name)
    room.service.create(JOB)
    assert room.tick() == {"running": 1, "stalled": 0, "told": 5}
    told = {notice["MessageAttributes"]["job"]["Value"] for notice in room.cloud.notices()}
    assert told == {JOB, "desk-a", "desk-b", "desk-d", "desk-e"}


def test_a_job_that_ended_long_ago_is_history(room: Room) -> None:
    room.service.jobs._clock = lambda: time.time() - 4 * 86400
    room.service.create("desk-old")
    room.service.finish("desk-old", "Failed", "no")
    room.service.create(JOB)
    assert room.tick() == {"running": 1, "stalled": 0, "told": 1}, "one that runs is watched, however old"


def test_a_name_that_is_used_again_is_another_job(room: Room) -> None:
    now = time.time()
    room.service.jobs._clock = lambda: now - 3600
    room.service.create(JOB)
    room.move(step=9, train=1000)
    room.service.finish(JOB)
    room.tick()
    room.service.client.delete_job(JobName=JOB, JobCategory="AgentRFT")
    assert room.tick() == {"running": 0, "stalled": 0, "told": 0}
    room.service.jobs._clock = time.time
    room.service.create(JOB)
    room.move(step=1, train=10)
    room.tick()
    assert (room.metric("BillableTokens"), room.metric("StepsDone")) == ([33], [1])
    assert room.cloud.news() == ["completed", "started"]


@pytest.mark.parametrize(
    ("progress", "steps"),
    [
        ({"MaxSteps": 50, "CurrentStep": 3}, (3, 50)),
        ({"MaxEpoch": 2, "StepsPerEpoch": 10, "CurrentEpoch": 1, "CurrentStep": 4}, (4, 20)),
        ({"MaxEpoch": 2, "StepsPerEpoch": 10, "CurrentEpoch": 2, "CurrentStep": 4}, (14, 20)),
        ({"MaxEpoch": 2, "StepsPerEpoch": 10, "CurrentEpoch": 2, "CurrentStep": 14}, (14, 20)),
        ({"CurrentStep": 4}, (4, 0)),
        ({}, (0, 0)),
    ],
)
def test_both_forms_of_progress(room: Room, progress: Mapping[str, int], steps: tuple[int, int]) -> None:
    assert room.module.jobs._steps(progress) == steps


def test_a_real_job_from_its_start_to_its_end(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = AgentServer()
    service = StandIn(tmp_path / "state", agents={"*": agent.url})
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", service.url)
    lines: list[Line] = []
    try:
        service.create(JOB, training(dataset(tmp_path / "train.jsonl"), tmp_path / "out", max_steps=3))
        while room.tick()["running"]:
            lines += room.lines
            time.sleep(0.1)
        lines += room.lines
        told = json.loads(service.wait(JOB)["JobConfigDocument"])["ServiceOutput"]
    finally:
        service.close()
        agent.close()
    assert room.cloud.news() == ["started", "completed"]
    jobs = [line for line in lines if line["event"] == "job"]
    used = sum(told["BillableTokenUsage"].values())
    assert used > 0
    assert sum(line["BillableTokens"] for line in jobs) == jobs[-1]["BillableTokensSoFar"] == used
    assert (jobs[-1]["StepsDone"], jobs[-1]["JobProgress"], jobs[-1]["status"]) == (3, 1, "Completed")

"""The job watcher where something goes wrong: overlaps, crashes, refusals, an old botocore.

What it has to tell is told nevertheless, once if nothing died in between, and one fault hides no other job.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from rehearsal.service.state.jobs import JobError
from tests.lambdas.job_watcher_room import (
    FOLDER,
    JOB,
    MODULES,
    Cloud,
    Context,
    Room,
    emulated,
    load,
    refuse,
    watching,
)


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


@pytest.mark.parametrize("seen", [True, False])
def test_overlapping_invocations_tell_and_count_once(room: Room, seen: bool) -> None:
    room.service.create(JOB)
    if seen:
        room.tick()
    room.move(step=4, train=100)
    room.service.finish(JOB, "Failed", "no")
    watchers = [load() for _ in range(6)]
    together = threading.Barrier(len(watchers))
    for module in watchers:
        recall = module.Memory.recall

        def recalled(self: Any, arn: str, recall: Any = recall) -> Any:
            entry = recall(self, arn)
            together.wait(20)  # all have read before the first one writes
            return entry

        module.Memory.recall = recalled
    room.capsys.readouterr()
    threads = [threading.Thread(target=module.handler, args=({}, Context())) for module in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    room.lines = [json.loads(line) for line in room.capsys.readouterr().out.splitlines()]
    assert (room.metric("BillableTokens"), room.metric("JobFailed")) == ([303], [1])
    assert room.cloud.news() == ["started", "failed"][not seen :]


def test_while_one_invocation_tells_another_leaves_the_job_to_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.service.create(JOB)
    publish = room.module.notices.publish
    answers = []

    def slowly(*arguments: Any) -> None:
        answers.append(load().handler({}, Context()))
        publish(*arguments)

    monkeypatch.setattr(room.module.notices, "publish", slowly)
    assert room.tick()["told"] == 1
    assert answers == [{"running": 1, "stalled": 0, "told": 0}]
    assert room.cloud.news() == ["started"]


def test_a_crash_between_claim_and_publish_is_made_good(room: Room) -> None:
    arn = room.service.create(JOB)
    with socket.create_server(("127.0.0.1", 0)) as sns:
        port = sns.getsockname()[1]
        program = f"""
            import sys; sys.path.insert(0, {str(FOLDER)!r})
            import handler
            class Context:
                def get_remaining_time_in_millis(self): return 12_000
            handler.handler({{}}, Context())
        """
        environ = {**os.environ, "AWS_ENDPOINT_URL_SNS": f"http://127.0.0.1:{port}"}
        watcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environ)
        sns.settimeout(30)
        connection, _ = sns.accept()
        connection.recv(1)  # the notice is on its way: the claim is written
        watcher.send_signal(signal.SIGKILL)
        watcher.wait(10)
        connection.close()
    assert json.loads(room.item(arn)["job"]["S"])["untold"][0]["news"] == "started"
    assert room.tick()["told"] == 0, "it might live yet"
    room.clock.ahead += 12
    assert room.tick()["told"] == 1
    room.clock.ahead += 60
    assert room.tick()["told"] == 0
    assert room.cloud.news() == ["started"]


def test_what_cannot_be_published_is_published_later_in_order(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTRL_TOPIC_ARN", room.cloud.topic + "-gone")
    room.service.create(JOB)
    assert room.fails().startswith("AgentRFT/desk-1: NotFound")
    assert (room.metric("JobsRunning"), room.metric("JobStalled")) == ([1], [])
    room.clock.ahead += 60
    room.service.finish(JOB, "Failed", "no")
    assert "NotFound" in room.fails()
    monkeypatch.setenv("MTRL_TOPIC_ARN", room.cloud.topic)
    room.clock.ahead += 60
    refuse(room, monkeypatch, JOB)  # telling does not wait for another look
    assert room.tick()["told"] == 2
    assert room.metric("JobFailed") == [1]
    assert room.cloud.news() == ["started", "failed"]


def test_one_job_that_cannot_be_described_hides_no_other(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("desk-a", "desk-b", "desk-c"):
        room.service.create(name)
        room.service.finish(name, "Failed", "no")
    refuse(room, monkeypatch, "desk-b")
    message = room.fails()
    assert message.startswith("sagemaker:DescribeJob of AgentRFT/desk-b: AccessDeniedException: ")
    assert (room.metric("JobFailed"), room.metric("JobsRunning")) == ([1, 1], [0])
    assert room.metric("JobStalled") == [], "silence raises the alarm: one job is out of sight"
    assert [line["error"] for line in room.lines if line["level"] == "ERROR"] == [message]
    assert room.cloud.news() == ["failed", "failed"]


def test_a_job_that_is_deleted_before_it_is_described_is_no_error(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.service.create(JOB)
    room.service.finish(JOB)
    refuse(room, monkeypatch, JOB, "ResourceNotFound")
    assert room.tick()["told"] == 0


def test_an_account_without_access_gets_one_clear_line(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise JobError("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/x is not authorized")

    monkeypatch.setattr(room.service.jobs, "list", denied)
    message = room.fails()
    assert message.startswith("sagemaker:ListJobs of AgentRFT: AccessDeniedException: ")
    assert "not allow-listed" in message
    assert "sagemaker:ListJobs of AgentRFTEvaluation" in message
    assert (room.metric("JobsRunning"), room.metric("JobStalled")) == ([], [])


def test_out_of_time_it_says_so(room: Room) -> None:
    room.service.create(JOB)
    with pytest.raises(room.module.WatchFailed, match="no time was left to look at 1 jobs"):
        room.tick(remaining=5)
    assert room.cloud.news() == []


def test_a_setting_that_is_missing_is_named(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MTRL_TOPIC_ARN")
    assert room.fails() == "MTRL_TOPIC_ARN is not set on this function"


def test_an_older_botocore_is_told_of_jobs(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a Lambda runtime may have it. Where botocore knows jobs, the additions change nothing."""
    current = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    added = botocore.loaders.Loader(extra_search_paths=[str(FOLDER / "models")])
    assert added.load_service_model("sagemaker", "service-2") == current
    extras = json.loads(next(FOLDER.rglob("*.sdk-extras.json")).read_text())["merge"]
    for kind in ("operations", "shapes"):
        for name in extras[kind]:
            del current[kind][name]
    older = tmp_path / "older/sagemaker/2017-07-24/service-2.json"
    older.parent.mkdir(parents=True)
    older.write_text(json.dumps(current))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / "older"))
    room.service.create(JOB)
    assert room.tick()["running"] == 1
    assert room.cloud.news() == ["started"]


def test_a_cold_start_imports_boto3_and_little_else() -> None:
    program = (
        "import sys, boto3, botocore.session, botocore.config; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(FOLDER)!r}); import handler\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert set(found.split()) - sys.stdlib_module_names == set(MODULES)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*") if path.suffix != ".pyc") < 40_000

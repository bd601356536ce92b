"""The state directory: it outlives `kill -9`, has one owner, and is not read by an older program."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.service.state.jobs import Jobs, partition_of
from rehearsal.service.state.store import DATABASE, FORMAT, Store, StoreError

from .test_control_plane import ACCOUNT, OUTPUT, REGION, TRAINING, Served

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from rehearsal.service.state.jobs import Jobs
from rehearsal.service.state.store import Store

store = Store(Path(sys.argv[1]))
jobs = Jobs(store, region="us-west-2", account="123456789012")
given = {"role_arn": "r", "schema_version": "1.0.0", "document": {"a": [1]}}
record = jobs.create(name="kept", category="AgentRFT", **given)
jobs.advance(record, "Downloading")
jobs.advance(record, "Training", "step 3")
jobs.progress(record, service_output={"ProgressInfo": {"CurrentStep": 3}}, runner_state={"step": 3})
store.put_many("trajectories", [(f"t{n}", {"n": n}) for n in range(100)])
print("ready", flush=True)
time.sleep(60)
"""


def owner(directory: Path) -> "subprocess.Popen[str]":
    """A process that holds the directory, after it has written to it."""
    command = [sys.executable, "-c", OWNER, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    kill(owner(tmp_path))
    with Store(tmp_path) as store:
        jobs = Jobs(store, region=REGION, account=ACCOUNT)
        (record,) = jobs.unfinished()
        assert (record.name, record.status, record.secondary) == ("kept", "InProgress", "Training")
        assert [step.status for step in record.transitions] == ["Starting", "Downloading", "Training"]
        assert record.transitions[-1].message == "step 3"
        assert (record.runner_state, record.document) == ({"step": 3}, {"a": [1]})
        assert record.service_output == {"ProgressInfo": {"CurrentStep": 3}}
        assert store.all("trajectories") == {f"t{n}": {"n": n} for n in range(100)}
        jobs.finish(record, "Completed")
        assert jobs.unfinished() == []


def test_a_second_process_on_the_directory_is_refused(tmp_path: Path) -> None:
    process = owner(tmp_path)
    try:
        with pytest.raises(StoreError, match=rf"in use by another process \(pid {process.pid}\): stop"):
            Store(tmp_path)
    finally:
        kill(process)
    Store(tmp_path).close()


def test_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(StoreError, match="in use"):
        Store(tmp_path)


def test_clients_see_the_same_jobs_after_a_restart(tmp_path: Path) -> None:
    first = Served(tmp_path)
    first.create("done", Tags=[{"Key": "a", "Value": "b"}])
    first.call(lambda: first.jobs.progress(first.record_now("done"), service_output={"Out": OUTPUT}))
    first.finish("done", "Failed", "why")
    first.create("running")
    named = [{"JobName": name, "JobCategory": "AgentRFT"} for name in ("done", "running")]
    before = [first.client.describe_job(**names) for names in named]
    first.close()
    second = Served(tmp_path)
    after = [second.client.describe_job(**names) for names in named]
    second.close()
    for told in (*before, *after):
        del told["ResponseMetadata"]
    assert before == after


def test_a_deleted_job_stays_deleted(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        jobs = Jobs(store, region=REGION, account=ACCOUNT)
        record = jobs.create(
            name="a", category="AgentRFT", role_arn="r", schema_version="1.0.0", document=TRAINING
        )
        assert jobs.by_arn(record.arn) is record
        jobs.finish(record, "Stopped")
        jobs.finish(record, "Failed", reason="too late")
        assert (record.status, record.failure_reason) == ("Stopped", None)
        jobs.delete("a", "AgentRFT")
    with Store(tmp_path) as store:
        assert store.all("jobs") == {}


def test_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    database = sqlite3.connect(tmp_path / DATABASE)
    database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    with pytest.raises(StoreError, match=r"written by a newer mtrl-kit .*: upgrade mtrl-kit, or choose"):
        Store(tmp_path)
    # The refusal must not have kept the lock.
    with pytest.raises(StoreError, match="newer"):
        Store(tmp_path)


def test_what_is_no_state_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database, but long enough to look like a file of one" * 100)
    with pytest.raises(StoreError, match="is not a state file of mtrl-kit"):
        Store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "file")


def test_documents_by_table_and_key(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put("a", "k", {"v": 1})
        store.put("a", "k", {"v": "é"})
        store.put("b", "k", {})
        assert (store.get("a", "k"), store.get("a", "none")) == ({"v": "é"}, None)
        assert (store.delete("a", "k"), store.delete("a", "k")) == (True, False)
        assert (store.all("a"), store.all("b")) == ({}, {"k": {}})


def test_many_documents_are_stored_all_or_none(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(TypeError):
            store.put_many("a", [("good", {"v": 1}), ("bad", {"v": object()})])
        assert store.all("a") == {}


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-west-2", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_the_arn_is_of_the_partition_of_the_region(tmp_path: Path, region: str, partition: str) -> None:
    assert partition_of(region) == partition
    with Store(tmp_path) as store:
        jobs = Jobs(store, region=region, account=ACCOUNT)
        assert jobs.arn("n", "AgentRFT") == f"arn:{partition}:sagemaker:{region}:{ACCOUNT}:job/AgentRFT/n"

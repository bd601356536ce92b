"""The queue worker as a real process, on a real SQS, S3 and DynamoDB API."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.entrypoints.inbox import Inbox
from adapters.runtime.fakes import Answer, FakeJobRuntime, assistant, tool_call
from adapters.runtime.settings import QueueSettings
from mtrl.rehearsing.processes import read_json_lines
from tests.aws import REGION, client, ministack
from tests.entrypoints.process import environ
from tests.runtime.kit import JOB, wire

PATIENCE = 60.0


@dataclass
class Intake:
    """The AWS side of a queue target."""

    url: str
    queue: str
    dead: str
    sqs: Any
    s3: Any

    def send(self, *bodies: object) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=text)

    def left(self) -> int:
        """Messages in the queue, visible or hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(answer[name]) for name in names)

    def buried(self) -> list[str]:
        """The reasons in the dead-letter queue."""
        answer = self.sqs.receive_message(
            QueueUrl=self.dead, MaxNumberOfMessages=10, MessageAttributeNames=["reason"]
        )
        return [
            message["MessageAttributes"]["reason"]["StringValue"] for message in answer.get("Messages", [])
        ]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url:
        yield url


@pytest.fixture
def intake(emulator: str, request: pytest.FixtureRequest) -> Intake:
    sqs, s3, dynamo = (client(name, emulator) for name in ("sqs", "s3", "dynamodb"))
    name = f"q{abs(hash(request.node.name)) % 10**10}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    if "ledger" not in dynamo.list_tables()["TableNames"]:
        dynamo.create_table(
            TableName="ledger",
            AttributeDefinitions=[{"AttributeName": "rollout", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "rollout", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        s3.create_bucket(Bucket="claims", CreateBucketConfiguration={"LocationConstraint": REGION})
    return Intake(emulator, queue, dead, sqs, s3)


@asynccontextmanager
async def worker(
    folder: Path, intake: Intake, service: FakeJobRuntime, **extra: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A queue worker process; ended by SIGTERM if the test has not done so."""
    log = folder / f"worker-{time.monotonic_ns()}.log"
    variables = environ(
        folder, service.url,
        AWS_ENDPOINT_URL=intake.url, MTRL_QUEUE_URL=intake.queue, MTRL_DEAD_LETTER_URL=intake.dead,
        MTRL_LEDGER_TABLE="ledger", MTRL_CLAIM_CHECK_BUCKET="claims", **extra,
    )  # fmt: skip
    process = await start_worker(variables, log)
    try:
        await until(
            lambda: any(line.get("event") == "started" for line in read_json_lines(log)), process, log
        )
        yield process, log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def start_worker(variables: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "adapters.entrypoints.queue", env=dict(variables), stdout=out, stderr=out
        )


def said(log: Path) -> str:
    return log.read_text(encoding="utf-8")


async def until(reached: Callable[[], object], process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(reached):
        assert time.monotonic() < deadline, said(log)
        assert process.returncode is None, said(log)
        await asyncio.sleep(0.05)


async def test_what_is_queued_is_played_and_deleted(tmp_path: Path, intake: Intake) -> None:
    ids = [f"q{n}" for n in range(25)]
    async with FakeJobRuntime() as service:
        intake.send(*(wire(rollout_id, received_at=time.time()) for rollout_id in ids))
        async with worker(tmp_path, intake, service) as (process, log):
            await until(lambda: len(service.rewards) == len(ids) and not intake.left(), process, log)
        assert process.returncode == 0, said(log)
        assert service.rewards == {rollout_id: [0.5] for rollout_id in ids}
        assert not service.breaches
    assert intake.buried() == []


async def test_of_a_message_that_is_gone_nothing_more_is_asked(intake: Intake) -> None:
    """The first answer to a delete was lost, or another worker was faster while this one stood still."""
    settings = QueueSettings(intake.queue, intake.dead, "ledger", None, None, None)
    inbox = Inbox(settings, intake.sqs, intake.s3)
    intake.send(wire("r1"), wire("r2"))
    deliveries = await inbox.receive(2) + await inbox.receive(1)
    assert [delivery.receives for delivery in deliveries] == [1, 1]
    assert all(abs(time.time() - delivery.sent_at) < 3600 for delivery in deliveries)
    for _ in range(2):
        await asyncio.gather(*(inbox.delete(delivery) for delivery in deliveries))
    await asyncio.gather(*(inbox.hide(delivery, 15) for delivery in deliveries))
    assert intake.left() == 0
    inbox.close()


async def test_duplicates_do_no_work_twice_across_two_workers(tmp_path: Path, intake: Intake) -> None:
    ids = [f"d{n}" for n in range(12)]
    async with FakeJobRuntime() as service:
        async with (
            worker(tmp_path / "one", intake, service) as (one, log),
            worker(tmp_path / "two", intake, service) as _,
        ):
            for _ in range(3):
                intake.send(*(wire(rollout_id) for rollout_id in ids))
            await until(lambda: len(service.rewards) == len(ids), one, log)
            await until(lambda: not intake.left(), one, log)
        assert service.count("complete") == service.count("reward") == len(ids)
        assert service.turns == dict.fromkeys(ids, 1)


async def test_what_can_never_be_worked_on_is_buried_with_a_reason(tmp_path: Path, intake: Intake) -> None:
    no_task = wire("m1") | {"prompt": json.dumps({"environment": "fake", "input": {}})}
    foreign = wire("m2", job=JOB.replace("1111", "9999"))
    async with FakeJobRuntime() as service:
        intake.send("no json", {"prompt": "p"}, no_task, foreign, wire("m3"))
        async with worker(tmp_path, intake, service) as (process, log):
            await until(lambda: service.rewards and not intake.left(), process, log)
        assert service.seals == {"m1": "failed", "m3": "ready"}  # the others cannot, or must not, be named
    reasons = sorted(intake.buried())
    assert [reason.split(":")[0] for reason in reasons] == ["malformed"] * 3 + ["refused"]
    assert any("metadata" in reason for reason in reasons)
    assert any("prompt.input.text" in reason for reason in reasons)


async def test_a_claim_check_is_read_from_the_workers_own_bucket(tmp_path: Path, intake: Intake) -> None:
    intake.s3.put_object(Bucket="claims", Key="c/1.json", Body=json.dumps(wire("c1")).encode())
    async with FakeJobRuntime() as service:
        intake.send({"claim_check": "c/1.json", "bucket": "somebody-elses", "received_at": time.time()})
        async with worker(tmp_path, intake, service) as (process, log):
            await until(lambda: service.rewards and not intake.left(), process, log)
        assert service.rewards == {"c1": [0.5]}


async def test_a_full_queue_behind_no_worker_costs_no_sample(tmp_path: Path, intake: Intake) -> None:
    """What expired while nobody was there is sealed; how long it waited is in the metrics."""
    ids = [f"e{n}" for n in range(30)]
    async with FakeJobRuntime() as service:
        intake.send(*(wire(rollout_id, received_at=time.time() - 3600) for rollout_id in ids))
        async with worker(tmp_path, intake, service) as (process, log):
            await until(lambda: len(service.seals) == len(ids) and not intake.left(), process, log)
        assert (service.seals, service.count("sample")) == (dict.fromkeys(ids, "failed"), 0)
    lines = list(read_json_lines(log))
    rollouts = [line for line in lines if line.get("event") == "rollout"]
    assert [line["stop_reason"] for line in rollouts] == ["expired"] * len(ids)
    received = [line for line in lines if line.get("event") == "received"]
    assert sum(line["Received"] for line in received) == len(ids)
    assert sum(len(line["QueueAgeSeconds"]) for line in received) == len(ids)
    assert sum(line["Redelivered"] for line in received) == 0
    named = {
        metric["Name"]: metric["Unit"] for metric in received[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert named == {"QueueAgeSeconds": "Seconds", "Received": "None", "Redelivered": "None"}


async def test_sigterm_seals_what_runs_and_leaves_what_waits(tmp_path: Path, intake: Intake) -> None:
    async with FakeJobRuntime() as service:
        service.script("sample", None, *[Answer(fault="hang")] * 8)
        service.policy = lambda _: assistant(None, tool_call("look"))
        async with worker(tmp_path, intake, service, MTRL_DRAIN_SECONDS="2", MTRL_MAX_CONCURRENCY="1") as (
            process,
            log,
        ):
            intake.send(wire("s1"))
            await service.arrived("sample", 2)
            intake.send(wire("s2"))
            process.send_signal(signal.SIGTERM)
            await process.wait()
            assert process.returncode == 0, said(log)
        assert service.rewards == {"s1": [0.5]}
        assert "s2" not in service.seals
    assert intake.left() == 1
    (line,) = [line for line in read_json_lines(log) if line.get("event") == "rollout"]
    assert line["stop_reason"] == "drained"


async def test_a_second_sigterm_exits_at_once_and_says_what_is_uncertain(
    tmp_path: Path, intake: Intake
) -> None:
    async with FakeJobRuntime() as service:
        service.script("sample", Answer(fault="hang"))
        async with worker(tmp_path, intake, service) as (process, log):
            intake.send(wire("second-1"))
            await service.arrived("sample")
            process.send_signal(signal.SIGTERM)
            await until(lambda: '"draining"' in said(log), process, log)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), PATIENCE) == 1
        assert service.seals == {}
    (killed,) = [line for line in read_json_lines(log) if line.get("event") == "killed"]
    assert killed["uncertain_rollouts"] == ["second-1"]
    assert intake.left() == 1


async def test_the_health_file_is_renewed(tmp_path: Path, intake: Intake) -> None:
    health = tmp_path / "health"
    async with (
        FakeJobRuntime() as service,
        worker(tmp_path, intake, service, MTRL_HEALTH_FILE=str(health)) as (process, log),
    ):
        await until(health.exists, process, log)
        first = health.stat().st_mtime_ns
        intake.send(wire("h1"))
        await until(lambda: health.stat().st_mtime_ns > first, process, log)


async def test_a_killed_worker_leaves_its_message_behind(tmp_path: Path, intake: Intake) -> None:
    async with FakeJobRuntime() as service:
        service.script("sample", Answer(fault="hang"))
        async with worker(tmp_path, intake, service) as (process, _):
            intake.send(wire("k1"))
            await service.arrived("sample")
            process.kill()
            await process.wait()
        assert service.seals == {}
    assert intake.left() == 1

"""What stands around the job watcher in tests: the stand-in's jobs API; an emulator's DynamoDB, SNS and SQS.

A job is moved by hand behind the stand-in's wire, so that each tick sees one known state. Time is the test's
own, so that a stall comes without waiting for it.
"""

import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rehearsal.service.state.jobs import JobError
from tests.aws import REGION, client, ministack
from tests.service.test_control_plane import Served

FOLDER = Path(__file__).parents[2] / "lambda/job_watcher"
MODULES = tuple(path.stem for path in FOLDER.glob("*.py"))
PREFIX = "desk-"
JOB = "desk-1"
Line = dict[str, Any]
_numbers = itertools.count()


@dataclass
class Context:
    """Lambda's context, as far as the function uses it."""

    remaining: float = 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining * 1000)


@dataclass
class Clock:
    """The watcher's time, which a test can move on."""

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


def load() -> ModuleType:
    """The handler, as Lambda loads it: its folder is the root of its imports. Each time a new copy."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("handler")
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


@dataclass
class Cloud:
    """The emulator with a topic, and the queue that has what was published."""

    url: str
    topic: str
    queue: str
    sqs: Any
    dynamodb: Any

    def notices(self) -> list[dict[str, Any]]:
        """Take everything off the queue."""
        found: list[dict[str, Any]] = []
        while batch := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return sorted(found, key=lambda notice: str(notice["Timestamp"]))

    def news(self) -> list[str]:
        return [notice["MessageAttributes"]["news"]["Value"] for notice in self.notices()]


@contextmanager
def emulated(log: Path) -> Iterator[Cloud]:
    """The emulator, with the topic and its queue."""
    with ministack(log) as url:
        sqs, sns = client("sqs", url), client("sns", url)
        queue = sqs.create_queue(QueueName="notices")["QueueUrl"]
        topic = sns.create_topic(Name="notices")["TopicArn"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        yield Cloud(url, topic, queue, sqs, client("dynamodb", url))


@dataclass
class Room:
    """A watcher, what it watches, and what it printed."""

    cloud: Cloud
    service: Served
    module: ModuleType
    clock: Clock
    table: str
    capsys: pytest.CaptureFixture[str]
    lines: list[Line] = field(default_factory=list)

    def tick(self, remaining: float = 60.0) -> dict[str, int]:
        """One invocation; `lines` then holds what it printed, whether it failed or not."""
        self.capsys.readouterr()
        try:
            answer: dict[str, int] = self.module.handler({}, Context(remaining))
        finally:
            self.lines = [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]
        return answer

    def fails(self) -> str:
        """One invocation, which ends with an error; gives its message."""
        with pytest.raises(self.module.WatchFailed) as failed:
            self.tick()
        assert "\n" not in str(failed.value)
        return str(failed.value)

    def metric(self, name: str) -> list[float]:
        return [line[name] for line in self.lines if name in line]

    def move(self, step: int = 0, train: int = 0, name: str = JOB, **output: Any) -> None:
        """What the service reports when a step is done."""
        tokens = {"TrainTokenCount": train, "PrefillTokenCount": 2 * train, "SampleTokenCount": 3}
        output = {"BillableTokenUsage": tokens, **output}
        if step:
            output["ProgressInfo"] = {"MaxSteps": 10, "CurrentStep": step}
        self._with(name, lambda record: self.service.jobs.progress(record, service_output=output))

    def phase(self, secondary: str, name: str = JOB) -> None:
        self._with(name, lambda record: self.service.jobs.advance(record, secondary))

    def item(self, arn: str) -> dict[str, Any]:
        key = {"rollout": {"S": f"job#{arn}"}}
        found: dict[str, Any] = self.cloud.dynamodb.get_item(TableName=self.table, Key=key)["Item"]
        return found

    def _with(self, name: str, act: Callable[[Any], None]) -> None:
        self.service.call(lambda: act(self.service.jobs.get(name, "AgentRFT")))


def make_table(cloud: Cloud) -> str:
    name = f"ledger-{next(_numbers)}"
    cloud.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "rollout", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "rollout", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def variables(cloud: Cloud, table: str, sagemaker: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ENDPOINT_URL_SAGEMAKER": sagemaker,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "MTRL_JOB_NAME_PREFIX": PREFIX,
        "MTRL_METRICS_NAMESPACE": "dev-desk",
        "MTRL_DEPLOYMENT": "dev-desk",
        "MTRL_TOPIC_ARN": cloud.topic,
        "MTRL_LEDGER_TABLE": table,
        "MTRL_STALL_MINUTES": "30",
    }


@contextmanager
def watching(
    cloud: Cloud, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Room]:
    """A room whose watcher is set up for it by the environment."""
    service = Served(state)
    table = make_table(cloud)
    environ = variables(cloud, table, f"http://127.0.0.1:{service.port}")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    module, clock = load(), Clock()
    monkeypatch.setattr(module, "time", clock)
    try:
        yield Room(cloud, service, module, clock, table, capsys)
    finally:
        cloud.notices()
        service.close()


def refuse(
    room: Room, monkeypatch: pytest.MonkeyPatch, name: str, code: str = "AccessDeniedException"
) -> None:
    """DescribeJob of one job answers with an error; the other jobs are told."""
    get = room.service.jobs.get

    def told(wanted: str, category: str) -> Any:
        if wanted == name:
            raise JobError(code, "no identity-based policy allows it\nnor does another")
        return get(wanted, category)

    monkeypatch.setattr(room.service.jobs, "get", told)

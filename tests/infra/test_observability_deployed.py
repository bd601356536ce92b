"""The observability stack as it works: deployed on the emulator, from the assembly as it is."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from tests.aws import REGION, ministack
from tests.infra.conftest import ACCOUNT, Assemblies
from tests.infra.observability_kit import NAME, TOPIC, load, rollout_line

STACKS = ("foundation", "intake", "observability")


class Emulator:
    """The three stacks, deployed by CloudFormation from the assembly as it is."""

    def __init__(self, url: str, assembly: Path) -> None:
        self._url = url
        self._assembly = assembly
        for manifest in assembly.glob("*.assets.json"):
            self._upload(json.loads(manifest.read_text()))
        self.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        for noun in STACKS:
            self._deploy(f"{NAME}-{noun}")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )

    def state(self, alarm: str) -> str:
        (found,) = self.client("cloudwatch").describe_alarms(AlarmNames=[f"{NAME}-{alarm}"])["MetricAlarms"]
        state: str = found["StateValue"]
        return state

    def _upload(self, manifest: dict[str, Any]) -> None:
        s3 = self.client("s3")
        for asset in manifest["files"].values():
            source = self._assembly / asset["source"]["path"]
            for place in asset["destinations"].values():
                bucket, key = place["bucketName"], place["objectKey"]
                if bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
                    location = {"LocationConstraint": REGION}
                    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
                s3.put_object(Bucket=bucket, Key=key, Body=packed(source))

    def _deploy(self, name: str) -> None:
        cloudformation = self.client("cloudformation")
        body = (self._assembly / f"{name}.template.json").read_text()
        cloudformation.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        deadline = time.monotonic() + 60
        while True:
            (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack.get("StackStatusReason")


def packed(source: Path) -> bytes:
    if source.is_file():
        return source.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in source.rglob("*"):
            archive.write(path, path.relative_to(source))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def emulator(assemblies: Assemblies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = assemblies.folder("dev", "fargate")
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url:
        yield Emulator(url, folder)


def test_work_without_a_worker_raises_the_alarm_and_tells_the_topic(emulator: Emulator) -> None:
    sqs, invoke = emulator.client("sqs"), emulator.client("lambda").invoke
    notices = subscribed(emulator)
    queue = sqs.get_queue_url(QueueName=f"{NAME}-rollouts")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    assert figures(invoke) == {"WaitingWithoutWorker": 1, "FlatRewards": 0}
    until(lambda: emulator.state("work-waiting") == "ALARM")
    # The emulator's alarms do not look at dimensions; CloudWatch's do.
    cloudwatch = emulator.client("cloudwatch")
    for metric in ("WaitingWithoutWorker", "FlatRewards"):
        (found,) = cloudwatch.list_metrics(Namespace=NAME, MetricName=metric)["Metrics"]
        assert found["Dimensions"] == [{"Name": "Deployment", "Value": NAME}]
    told = json.loads(until(lambda: sqs.receive_message(QueueUrl=notices).get("Messages"))[0]["Body"])
    assert f"{NAME}-work-waiting" in told["Message"]
    assert "docs/runbooks/work-waiting.md" in told["Message"]
    # A worker takes it: it is waiting no more, and the next look says so without a second one.
    assert sqs.receive_message(QueueUrl=queue)["Messages"]
    assert figures(invoke)["WaitingWithoutWorker"] == 0


def subscribed(emulator: Emulator) -> str:
    """A queue that gets what the topic is told."""
    sqs = emulator.client("sqs")
    queue: str = sqs.create_queue(QueueName="notices")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    emulator.client("sns").subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=arn)
    return queue


def figures(invoke: Callable[..., Any]) -> dict[str, float]:
    answer = invoke(FunctionName=f"{NAME}-gauges", Payload=b"{}")
    assert "FunctionError" not in answer
    found: dict[str, float] = json.loads(answer["Payload"].read())
    return found


def until(ready: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def put(emulator: Emulator, name: str, values: list[float]) -> None:
    """What CloudWatch makes of the adapter's lines; the emulator does not read them itself."""
    line = rollout_line()
    dimensions = [{"Name": "Environment", "Value": line["Environment"]}]
    data = [{"MetricName": name, "Dimensions": dimensions, "Value": value} for value in values]
    emulator.client("cloudwatch").put_metric_data(Namespace=NAME, MetricData=data)


@pytest.mark.parametrize(
    ("alarm", "metric", "few", "many"),
    [
        ("rollouts-failed", "Failed", 1, 3),
        ("turns-exhausted", "TurnsExhausted", 9, 13),
        ("reward-score-disagreement", "RewardScoreDisagreement", 0, 1),
    ],
)
def test_a_share_above_the_threshold_raises_the_alarm(
    emulator: Emulator, alarm: str, metric: str, few: int, many: int
) -> None:
    put(emulator, metric, [1.0] * few + [0.0] * (100 - few))
    until(lambda: emulator.state(alarm) == "OK")
    put(emulator, metric, [1.0] * many)
    until(lambda: emulator.state(alarm) == "ALARM")


@pytest.mark.parametrize(
    ("rewards", "flat"),
    [
        ([0.3] * 31, 0),
        ([0.3] * 32, 32),
        ([0.3] * 32 + [0.30001], 0),
    ],
)
def test_rewards_are_flat_if_enough_of_them_are_the_same(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, rewards: list[float], flat: int
) -> None:
    monkeypatch.setenv("MTRL_METRICS_NAMESPACE", f"flat-{len(rewards)}")
    monkeypatch.setenv("MTRL_DEPLOYMENT", NAME)
    monkeypatch.setenv("MTRL_ENVIRONMENT", "sop")
    monkeypatch.delenv("MTRL_QUEUE_URL", raising=False)
    gauges = load("gauges")
    cloudwatch = emulator.client("cloudwatch")
    gauges._clients["cloudwatch"] = cloudwatch
    dimensions = [{"Name": "Environment", "Value": "sop"}]
    data = [{"MetricName": "Reward", "Dimensions": dimensions, "Value": value} for value in rewards]
    cloudwatch.put_metric_data(Namespace=f"flat-{len(rewards)}", MetricData=data)
    assert gauges.handler({}, None) == {"FlatRewards": flat}


def test_a_tick_looks_again_for_what_came_after_its_first_look(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs, cloudwatch = emulator.client("sqs"), emulator.client("cloudwatch")
    queue = sqs.create_queue(QueueName="late")["QueueUrl"]
    monkeypatch.setenv("MTRL_METRICS_NAMESPACE", "late")
    monkeypatch.setenv("MTRL_DEPLOYMENT", NAME)
    monkeypatch.setenv("MTRL_ENVIRONMENT", "sop")
    monkeypatch.setenv("MTRL_QUEUE_URL", queue)
    gauges = load("gauges")
    gauges._clients.update(sqs=sqs, cloudwatch=cloudwatch)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        """Work comes in the first wait between two looks; nobody has time for the waits themselves."""
        if seconds > gauges.SECOND_LOOK_SECONDS and not waits:
            sqs.send_message(QueueUrl=queue, MessageBody="{}")
        if seconds:
            waits.append(seconds)

    monkeypatch.setattr(gauges, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    assert gauges.handler({"looks": 3}, None)["WaitingWithoutWorker"] == 1
    assert 10 < waits[0] <= 20, "the second look of the tick is 20 s after the first"
    now = datetime.now(UTC)
    (found,) = cloudwatch.get_metric_statistics(
        Namespace="late",
        MetricName="WaitingWithoutWorker",
        Dimensions=[{"Name": "Deployment", "Value": NAME}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=600,
        Statistics=["SampleCount", "Sum"],
    )["Datapoints"]
    assert (found["SampleCount"], found["Sum"]) == (3, 2), "each look is published as soon as it is made"


def test_gauges_that_cannot_see_the_queue_fall_silent_altogether(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm takes the silence of FlatRewards for trouble, and that of the queue's figure for nothing."""
    monkeypatch.setenv("MTRL_METRICS_NAMESPACE", "blind")
    monkeypatch.setenv("MTRL_DEPLOYMENT", NAME)
    monkeypatch.setenv("MTRL_ENVIRONMENT", "sop")
    monkeypatch.setenv("MTRL_QUEUE_URL", f"https://sqs.us-west-2.amazonaws.com/{ACCOUNT}/missing")
    gauges = load("gauges")
    sqs, cloudwatch = emulator.client("sqs"), emulator.client("cloudwatch")
    gauges._clients.update(sqs=sqs, cloudwatch=cloudwatch)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        gauges.handler({"looks": 3}, None)
    assert cloudwatch.list_metrics(Namespace="blind")["Metrics"] == []


def test_a_message_that_a_worker_takes_at_once_is_not_waiting(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs = emulator.client("sqs")
    queue = sqs.create_queue(QueueName="taken")["QueueUrl"]
    gauges = load("gauges")
    monkeypatch.setattr(gauges, "SECOND_LOOK_SECONDS", 1.0)
    gauges._clients["sqs"] = sqs
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    worker = threading.Timer(0.3, sqs.receive_message, kwargs={"QueueUrl": queue})
    worker.start()
    assert gauges._waiting_without_worker(queue) == 0
    worker.join()
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    assert gauges._waiting_without_worker(queue) == 0, "one is in flight: a worker is there"

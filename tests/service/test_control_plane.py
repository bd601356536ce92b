"""The control plane as clients see it: a real boto3 client, raw HTTP, and the public SDK."""

import asyncio
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.service.state.jobs import JobRecord, Jobs
from rehearsal.service.state.store import Store
from rehearsal.service.wire.control_plane import ControlPlane

REGION, ACCOUNT = "us-west-2", "123456789012"
OWN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"
OUTPUT = f"{OWN}:model-package/out/1"

SHARED: dict[str, Any] = {
    "AgentConfig": {
        "CustomAgentLambdaConfig": {"LambdaArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forward"}
    },
    "OutputDataConfig": {"S3OutputPath": "s3://a-bucket/out/"},
}
MODEL = f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/openai-reasoning-gpt-oss-20b"
TRAINING: dict[str, Any] = {
    **SHARED,
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "file:///data/train.jsonl"}},
        }
    ],
    "ModelPackageConfig": {
        "OutputModelPackageGroupArn": f"{OWN}:model-package-group/out",
        "IntermediateCheckpointModelPackageGroupArn": f"{OWN}:model-package-group/steps",
    },
    "TrainingConfig": {"BaseModelArn": MODEL, "AcceptEula": True, "HyperParameters": {"group_size": 4}},
}
EVALUATION: dict[str, Any] = {
    **SHARED,
    "InputDataConfig": [
        {
            "ChannelName": "evaluation",
            "DataSource": {
                "DatasetSource": {"DatasetArn": f"{OWN}:hub-content/private/DataSet/held-out/1.0.0"}
            },
        }
    ],
    "EvaluationConfig": {
        "BaseModelArn": MODEL,
        "AcceptEula": True,
        "HyperParameters": {"eval_group_size": "4", "pass_k_values": "[1,2,4]"},
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
}


class Served:
    """A control plane on a loopback port, its event loop in a thread."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.store = Store(directory)
        self.jobs = Jobs(self.store, region=REGION, account=ACCOUNT, clock=clock)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.port = self.call(self._start)
        self.client = client(self.port)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run on the loop, which the jobs belong to."""

        async def run() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def create(self, name: str, document: object = None, **more: Any) -> str:
        text = json.dumps(TRAINING if document is None else document)
        arguments = {"JobCategory": "AgentRFT", "RoleArn": ROLE, "JobConfigSchemaVersion": "1.0.0", **more}
        arn: str = self.client.create_job(JobName=name, JobConfigDocument=text, **arguments)["JobArn"]
        return arn

    def record(self, name: str, category: str = "AgentRFT") -> JobRecord:
        found: JobRecord = self.call(self.jobs.get, name, category)
        return found

    def finish(self, name: str, status: str = "Completed", reason: str | None = None) -> None:
        self.call(lambda: self.jobs.finish(self.record_now(name), status, reason=reason))  # type: ignore[arg-type]

    def record_now(self, name: str) -> JobRecord:
        return self.jobs.get(name, "AgentRFT")

    def close(self) -> None:
        self.client.close()
        self.call(self._runner.cleanup)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.store.close()

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_post("/", ControlPlane(self.jobs).handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port: int = self._runner.addresses[0][1]
        return port


def client(port: int) -> Any:
    return boto3.client(
        "sagemaker",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.close()


def refused(function: Callable[..., Any], *arguments: Any, **more: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        function(*arguments, **more)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    assert status == (403 if error["Error"]["Code"].startswith("MissingAuth") else 400)
    return error["Error"]["Code"], error["Error"]["Message"]


def post(port: int, body: bytes, target: str | None = "SageMaker.DescribeJob", **headers: str) -> Any:
    """A raw request: status, headers and parsed body of the answer."""
    fields = {
        "Authorization": "AWS4-HMAC-SHA256 ...",
        "Content-Type": "application/x-amz-json-1.1",
        **headers,
    }
    if target is not None:
        fields["X-Amz-Target"] = target
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/", body, {name: value for name, value in fields.items() if value})
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def test_a_job_from_creation_to_its_end(served: Served) -> None:
    created: list[str] = []
    served.jobs.on_created = lambda record: created.append(record.name)
    arn = served.create("first", Tags=[{"Key": "team:é", "Value": "rl"}])
    assert arn == f"{OWN}:job/AgentRFT/first"
    assert created == ["first"]
    told = served.client.describe_job(JobName="first", JobCategory="AgentRFT")
    assert (told["JobStatus"], told["SecondaryStatus"]) == ("InProgress", "Starting")
    assert told["Tags"] == [{"Key": "team:é", "Value": "rl"}]
    assert json.loads(told["JobConfigDocument"]) == TRAINING
    assert abs((datetime.now(UTC) - told["CreationTime"]).total_seconds()) < 60
    assert "EndTime" not in told
    assert "FailureReason" not in told

    record = served.record("first")
    for secondary in ("Downloading", "Training", "Uploading"):
        served.call(served.jobs.advance, record, secondary, f"now {secondary}")
    served.call(lambda: served.jobs.progress(record, service_output={"OutputModelPackageArn": OUTPUT}))
    served.finish("first")
    told = served.client.describe_job(JobName="first", JobCategory="AgentRFT")
    steps = told["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert [step["EndTime"] for step in steps[:-1]] == [step["StartTime"] for step in steps[1:]]
    assert steps[2]["StatusMessage"] == "now Training"
    assert told["JobStatus"] == "Completed"
    assert told["EndTime"] == steps[-1]["EndTime"]
    assert json.loads(told["JobConfigDocument"])["ServiceOutput"]["OutputModelPackageArn"] == OUTPUT


def test_a_failure_tells_its_reason_cut_to_the_limit(served: Served) -> None:
    served.create("bad")
    served.finish("bad", "Failed", "x" * 5000)
    told = served.client.describe_job(JobName="bad", JobCategory="AgentRFT")
    assert told["FailureReason"] == "x" * 1024


def test_the_transitions_stay_within_the_limit(served: Served) -> None:
    served.create("long")
    record = served.record("long")
    for number in range(150):
        served.call(served.jobs.advance, record, "Training", str(number))
    steps = served.client.describe_job(JobName="long", JobCategory="AgentRFT")["SecondaryStatusTransitions"]
    assert len(steps) == 100
    assert steps[-1]["StatusMessage"] == "149"


def test_one_job_of_each_category_at_a_time(served: Served) -> None:
    served.create("first")
    code, message = refused(served.create, "second")
    assert code == "ResourceLimitExceeded"
    assert "'first' is InProgress" in message
    served.create("first", EVALUATION, JobCategory="AgentRFTEvaluation")
    assert refused(served.create, "x", EVALUATION, JobCategory="AgentRFTEvaluation")[0] == code
    served.client.stop_job(JobName="first", JobCategory="AgentRFT")
    assert refused(served.create, "second")[0] == "ResourceLimitExceeded"
    served.finish("first", "Stopped")
    assert refused(served.create, "first")[0] == "ResourceInUse"
    served.create("second")


def test_stopping_and_deleting(served: Served) -> None:
    served.create("a")
    named = {"JobName": "a", "JobCategory": "AgentRFT"}
    assert refused(served.client.delete_job, **named)[0] == "ResourceInUse"
    assert not served.jobs.stop_requested(served.record("a"))
    served.client.stop_job(**named)
    served.client.stop_job(**named)
    told = served.client.describe_job(**named)
    assert (told["JobStatus"], told["SecondaryStatus"]) == ("Stopping", "Stopping")
    assert served.jobs.stop_requested(served.record("a"))
    served.finish("a", "Stopped")
    assert refused(served.client.stop_job, **named)[0] == "ValidationException"
    served.client.delete_job(**named)
    for operation in ("describe_job", "stop_job", "delete_job"):
        assert refused(getattr(served.client, operation), **named)[0] == "ResourceNotFound"


def test_listing_pages_through_every_job_once(served: Served) -> None:
    names = [f"job-{number:02}" for number in range(23)]
    for name in names:
        served.create(name)
        served.finish(name, "Completed" if int(name[-2:]) % 2 else "Failed", "why")
    paginator = served.client.get_paginator("list_jobs")
    order = {"SortBy": "Name", "SortOrder": "Ascending", "PaginationConfig": {"PageSize": 5}}
    pages = list(paginator.paginate(JobCategory="AgentRFT", **order))
    sizes = [len(page["JobSummaries"]) for page in pages]
    assert sizes == [5, 5, 5, 5, 3]
    assert [job["JobName"] for page in pages for job in page["JobSummaries"]] == names
    for sort in ("Name", "CreationTime", "Status"):
        found = [
            job["JobName"]
            for page in paginator.paginate(
                JobCategory="AgentRFT", SortBy=sort, PaginationConfig={"PageSize": 4}
            )
            for job in page["JobSummaries"]
        ]
        assert sorted(found) == names
        assert sort == "Status" or found == names[::-1]


@pytest.fixture
def slow_served(tmp_path: Path) -> Iterator[Served]:
    """Its clock goes on by a second at each look: boto3 sends times in whole seconds."""
    server = Served(tmp_path, clock=map(float, itertools.count(1_800_000_000)).__next__)
    yield server
    server.close()


def test_listing_filters(slow_served: Served) -> None:
    served = slow_served
    for name in ("red-1", "blue-1", "red-2"):
        served.create(name)
        if name != "red-2":
            served.finish(name)

    def listed(**filters: Any) -> list[str]:
        jobs = served.client.list_jobs(JobCategory="AgentRFT", **filters)["JobSummaries"]
        return sorted(job["JobName"] for job in jobs)

    middle = served.record("blue-1").created
    assert listed(NameContains="red") == ["red-1", "red-2"]
    assert listed(StatusEquals="InProgress") == ["red-2"]
    assert listed(CreationTimeAfter=middle) == ["red-2"]
    assert listed(CreationTimeBefore=middle) == ["red-1"]
    assert listed(LastModifiedTimeAfter=0, LastModifiedTimeBefore=1) == []
    assert served.client.list_jobs(JobCategory="AgentRFTEvaluation")["JobSummaries"] == []


def test_a_token_holds_for_its_own_query_only(served: Served) -> None:
    for name in ("a", "b"):
        served.create(name)
        served.finish(name)
    token = served.client.list_jobs(JobCategory="AgentRFT", MaxResults=1)["NextToken"]
    assert served.client.list_jobs(JobCategory="AgentRFT", NextToken=token)["JobSummaries"]
    for query in ({"NextToken": token, "SortBy": "Name"}, {"NextToken": "bm9uc2Vuc2U="}, {"NextToken": "?"}):
        code, message = refused(served.client.list_jobs, JobCategory="AgentRFT", **query)
        assert (code, message[:9]) == ("ValidationException", "NextToken")

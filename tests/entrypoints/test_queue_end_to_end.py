"""The whole queue path on one machine: service, forwarder, SQS, worker, and back through the Job Runtime."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.environments.sop import create
from mtrl.rehearsing.jobs import BASE_MODEL, ROLE
from mtrl.rehearsing.processes import child_environ, free_port, read_json_lines
from rehearsal.service.options import ACCOUNT
from tests.aws import REGION, client, ministack

ROOT = Path(__file__).parents[2]
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forwarder"
PATIENCE = 120.0


@contextmanager
def process(command: list[str], environ: dict[str, str], log: Path, ready: str) -> Iterator[None]:
    with log.open("wb") as out:
        running = subprocess.Popen([sys.executable, "-m", *command], env=environ, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE
        while ready not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        running.terminate()
        running.wait(60)


def make_aws(url: str) -> dict[str, str]:
    """The queue, the dead-letter queue and the ledger; the variables that name them."""
    sqs, dynamo = client("sqs", url), client("dynamodb", url)
    dynamo.create_table(
        TableName="ledger",
        AttributeDefinitions=[{"AttributeName": "rollout", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "rollout", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return {
        "AWS_ENDPOINT_URL": url,
        "MTRL_QUEUE_URL": sqs.create_queue(QueueName="rollouts")["QueueUrl"],
        "MTRL_DEAD_LETTER_URL": sqs.create_queue(QueueName="dead")["QueueUrl"],
        "MTRL_LEDGER_TABLE": "ledger",
        "MTRL_ACCOUNT_ID": ACCOUNT,
    }


def evaluate(endpoint: str, folder: Path, tasks: int) -> dict[str, Any]:
    """An evaluation job whose agent is a Lambda function; the last DescribeJob answer."""
    data = folder / "tasks.jsonl"
    cases = create({}).tasks("returns_desk", "test")[:tasks]
    data.write_text("".join(json.dumps({"prompt": task.to_prompt()}) + "\n" for task in cases))
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data.as_uri()}}
    document = {
        "AgentConfig": {"CustomAgentLambdaConfig": {"LambdaArn": FUNCTION}},
        "InputDataConfig": [{"ChannelName": "evaluation", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": folder.as_uri()},
        "EvaluationConfig": {
            "BaseModelArn": BASE_MODEL,
            "AcceptEula": True,
            "HyperParameters": {"eval_group_size": "2", "pass_k_values": "[1,2]"},
        },
    }
    sagemaker = client("sagemaker", endpoint)
    job = {"JobName": "queued", "JobCategory": "AgentRFTEvaluation"}
    sagemaker.create_job(
        **job, RoleArn=ROLE, JobConfigSchemaVersion="1.0.0", JobConfigDocument=json.dumps(document)
    )
    deadline = time.monotonic() + PATIENCE
    while (told := sagemaker.describe_job(**job))["JobStatus"] == "InProgress":
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    return dict(told)


def test_a_job_runs_through_forwarder_and_queue(tmp_path: Path) -> None:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    forwarder = str(ROOT / "lambda/forwarder/handler.py")
    serve = ["mtrl", "service", "--json", "--port", str(port), "--state", str(tmp_path / "state")]
    log = tmp_path / "worker.log"
    with ministack(tmp_path / "aws.log") as url:
        aws = make_aws(url)
        worker = {**aws, "MTRL_ENVIRONMENT": "sop", "MTRL_JOB_RUNTIME_ENDPOINT": endpoint}
        with (
            process(["adapters.entrypoints.queue"], child_environ(worker), log, '"started"'),
            process(
                [*serve, "--forwarder", forwarder], child_environ(aws), tmp_path / "service.log", '"pid"'
            ),
        ):
            told = evaluate(endpoint, tmp_path, tasks=12)
        assert told["JobStatus"] == "Completed", (told.get("FailureReason"), log.read_text()[-2000:])
        attributes = client("sqs", url).get_queue_attributes(
            QueueUrl=aws["MTRL_QUEUE_URL"], AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
    lines = [line for line in read_json_lines(log) if line.get("event") == "rollout"]
    assert len({line["rollout_id"] for line in lines}) == len(lines) == 24
    assert {line["sealed"] for line in lines} == {"ready"}
    assert int(attributes["ApproximateNumberOfMessagesNotVisible"]) == 0

"""Deployed forwarders: lambda:InvokeFunction of the real handler on an emulator, errors and throttles too."""

import asyncio
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from aiohttp import web

from mtrl.commands.service import read_agents
from mtrl.rehearsing.processes import child_environ, free_port, read_json_lines
from rehearsal.service.agents import LOCAL_LAMBDA_THREADS, AgentError, LambdaAgent
from rehearsal.service.lambda_api import LambdaTarget, is_loopback
from rehearsal.service.options import ACCOUNT
from tests.aws import REGION, client, ministack
from tests.entrypoints.test_queue_end_to_end import evaluate, make_aws, process

from .agent_calls import PAYLOAD, refused
from .stand_in import StandIn, dataset, evaluation
from .test_agents import serving

ROOT = Path(__file__).parents[2]
HANDLER = (ROOT / "lambda/forwarder/handler.py").read_text()
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forwarder"
JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:job/AgentRFT/desk-1"


@dataclass
class Deployed:
    """An emulator with functions on it."""

    url: str
    aws: Mapping[str, str]

    def deploy(self, name: str, source: str, variables: Mapping[str, str], key: str = "test") -> None:
        """`key` is of an account: an emulator takes an access key of 12 digits for its number."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("handler.py", source)
        functions = self.api(key)
        functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/forwarder",
            Handler="handler.handler",
            Timeout=20,
            Code={"ZipFile": archive.getvalue()},
            Environment={"Variables": dict(variables)},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=name)

    def api(self, key: str = "test") -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key="test",
        )

    def agent(self, function: str = "forwarder") -> LambdaAgent:
        return LambdaAgent(ARN, LambdaTarget(function=function, endpoint=self.url))

    def messages(self) -> list[dict[str, Any]]:
        """Take everything off the queue."""
        sqs, queue = client("sqs", self.url), self.aws["MTRL_QUEUE_URL"]
        found: list[dict[str, Any]] = []
        while batch := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url:
        deployed = Deployed(url, make_aws(url))
        deployed.deploy("forwarder", HANDLER, deployed.aws)
        yield deployed


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


def request(rollout: str = "r1", arn: str = JOB) -> dict[str, Any]:
    return {"prompt": "do it", "metadata": {"jobArn": arn, "rolloutId": rollout}, "inferenceParams": {}}


async def test_a_request_arrives_on_the_queue_without_any_setting(emulator: Deployed) -> None:
    """No credentials and no Region in the environment: the ARN and the dummies do."""
    agent = emulator.agent()
    answers = await asyncio.gather(*(agent.invoke(request(f"r{n}"), timeout=60) for n in range(12)))
    await agent.close()
    assert answers == [{}] * 12
    assert {message["metadata"]["rolloutId"] for message in emulator.messages()} == {
        f"r{n}" for n in range(12)
    }


async def test_the_arn_of_the_job_in_the_account_of_the_environment(
    emulator: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.deploy("forwarder", "def handler(event, context): return {'mine': True}", {}, key=ACCOUNT)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    agent = emulator.agent(function="")
    assert await agent.invoke(request(), timeout=60) == {"mine": True}
    await agent.close()


async def test_an_error_answer_is_surfaced(emulator: Deployed) -> None:
    agent = emulator.agent()
    with pytest.raises(AgentError, match=r"AccessDenied: .* another account") as info:
        await agent.invoke(request(arn=JOB.replace(ACCOUNT, "999999999999")), timeout=60)
    await agent.close()
    assert not info.value.retryable
    assert emulator.messages() == []


@pytest.mark.parametrize(
    ("name", "source", "text", "retryable"),
    [
        (
            "raises",
            "def handler(event, context): raise KeyError('prompt')",
            "the function raised .*prompt",
            True,
        ),
        ("exits", "import os\ndef handler(event, context): os._exit(3)", "the function raised", True),
        ("misconfigured", HANDLER, "InternalServerError: .*MTRL_QUEUE_URL is not set", True),
        ("none", "def handler(event, context): return None", "no JSON object", False),
    ],
)
async def test_a_function_that_fails(
    emulator: Deployed, name: str, source: str, text: str, retryable: bool
) -> None:
    emulator.deploy(name, source, {})
    agent = emulator.agent(name)
    with pytest.raises(AgentError, match=text) as info:
        await agent.invoke(request(), timeout=60)
    await agent.close()
    assert info.value.retryable is retryable


async def test_a_function_that_is_not_there(emulator: Deployed) -> None:
    error = await refused(emulator.agent("nobody"), 30)
    assert "ResourceNotFoundException" in str(error)
    assert not error.retryable


def test_a_throttle_is_a_failed_attempt(emulator: Deployed, tmp_path: Path) -> None:
    """Reserved concurrency 0: Lambda answers 429 to every call, and the job ends after its attempts."""
    emulator.deploy("throttled", HANDLER, emulator.aws)
    emulator.api().put_function_concurrency(FunctionName="throttled", ReservedConcurrentExecutions=0)
    target = LambdaTarget(function="throttled", endpoint=emulator.url)
    service = StandIn(tmp_path / "state", function=target)
    document = evaluation(
        dataset(tmp_path / "eval.jsonl", ["1"]),
        tmp_path,
        eval_group_size="1",
        pass_k_values="[1]",
        rollout_max_retries="3",
    )
    document["AgentConfig"] = {"CustomAgentLambdaConfig": {"LambdaArn": ARN}}
    try:
        arn = service.create("job", document, "AgentRFTEvaluation")
        job = service.wait("job", "AgentRFTEvaluation")
        counts = service.counts(arn)
    finally:
        service.close()
    assert job["JobStatus"] == "Failed"
    assert "TooManyRequestsException" in job["FailureReason"]
    assert counts["rollout_retries"] == 2
    assert "samples" not in counts


async def test_other_machines_get_no_dummy_credentials() -> None:
    target = LambdaTarget(function="forwarder", endpoint="http://lambda.invalid:4566")
    error = await refused(LambdaAgent(ARN, target))
    assert "credentials" in str(error)
    assert not error.retryable


async def test_calls_to_an_endpoint_here_are_bounded() -> None:
    running = most = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return web.json_response({})

    async with serving(handler) as url:
        agent = LambdaAgent(ARN, LambdaTarget(endpoint=url))
        await asyncio.gather(*(agent.invoke(PAYLOAD, timeout=30) for _ in range(32)))
        await agent.close()
    assert most == LOCAL_LAMBDA_THREADS


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://[::1]:4566", True),
        ("http://localhost:4566", True),
        ("https://lambda.us-west-2.amazonaws.com", False),
        ("http://127.0.0.1.example.com", False),
        ("", False),
    ],
)
def test_what_is_on_this_machine(url: str, local: bool) -> None:
    assert is_loopback(url) is local


@pytest.mark.parametrize(
    ("spec", "function", "endpoint"),
    [
        ("lambda", "", ""),
        ("lambda:forwarder", "forwarder", ""),
        ("lambda@http://127.0.0.1:4566/", "", "http://127.0.0.1:4566"),
        ("lambda:forwarder:live@http://127.0.0.1:4566", "forwarder:live", "http://127.0.0.1:4566"),
        (f"lambda:{ARN}:$LATEST@https://[::1]:4566", f"{ARN}:$LATEST", "https://[::1]:4566"),
    ],
)
def test_the_option(spec: str, function: str, endpoint: str) -> None:
    urls, target = read_agents(["http://127.0.0.1:8080/", spec])
    assert urls == {"*": "http://127.0.0.1:8080"}
    assert target == LambdaTarget(function=function, endpoint=endpoint)


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        (["lambda:"], r"is not lambda\[:FUNCTION\]\[@URL\]"),
        (["lambda:f@127.0.0.1:4566"], "Example: --agent lambda:forwarder@http"),
        (["lambda:f@http://host/path"], "is not lambda"),
        (["lambda", "lambda:f"], "another was given before"),
        ([f"{ARN}=http://127.0.0.1:4566"], f"is given as lambda:{ARN}@URL"),
    ],
)
def test_a_mistake_in_the_option(specs: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as info:
        read_agents(specs)
    assert info.value.exit_code == 2
    assert re.search(text, capsys.readouterr().err)


def test_a_job_runs_through_the_deployed_forwarder(emulator: Deployed, tmp_path: Path) -> None:
    """Stand-in, deployed function, SQS, worker, and back: 24 rollouts, each once."""
    emulator.messages()
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    serve = ["mtrl", "service", "--json", "--port", str(port), "--state", str(tmp_path / "state")]
    agent = f"lambda:forwarder@{emulator.url}"
    log = tmp_path / "worker.log"
    worker = {**emulator.aws, "MTRL_ENVIRONMENT": "sop", "MTRL_JOB_RUNTIME_ENDPOINT": endpoint}
    with (
        process(["adapters.entrypoints.queue"], child_environ(worker), log, '"started"'),
        process([*serve, "--agent", agent], child_environ({}), tmp_path / "service.log", '"pid"'),
    ):
        told = evaluate(endpoint, tmp_path, tasks=12)
    assert told["JobStatus"] == "Completed", (told.get("FailureReason"), log.read_text()[-2000:])
    lines = [line for line in read_json_lines(log) if line.get("event") == "rollout"]
    assert len({line["rollout_id"] for line in lines}) == len(lines) == 24
    assert {line["sealed"] for line in lines} == {"ready"}

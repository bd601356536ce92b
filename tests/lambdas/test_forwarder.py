"""The forwarder, as Lambda runs it: a handler file in a process of its own, against a real SQS and S3 API."""

import contextlib
import importlib.util
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.contract import RolloutRequest
from infra.settings import FORWARDER_CALLS_SECONDS
from rehearsal.service.agents import AgentError, ForwarderAgent
from tests.aws import REGION, client, ministack

ROOT = Path(__file__).parents[2]
HANDLER = ROOT / "lambda/forwarder/handler.py"
ASKED_PAUSE_SECONDS = 5
"""The most that botocore pauses longer because an answer asks for it."""
JOB = f"arn:aws:sagemaker:{REGION}:111122223333:job/AgentRFT/desk-1"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forwarder_handler", HANDLER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(prompt: str = "do it", **metadata: Any) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "metadata": {"jobArn": JOB, "rolloutId": "r1", "endpoint": "https://evil.example", **metadata},
        "inferenceParams": {"temperature": 1.0},
    }


@dataclass
class Intake:
    """The queue and the bucket, and the forwarder's settings for them."""

    url: str
    queue: str
    sqs: Any
    s3: Any

    def messages(self) -> list[dict[str, Any]]:
        """Take everything off the queue."""
        found: list[dict[str, Any]] = []
        while True:
            batch = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
            for message in batch:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
            if not batch:
                return found


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url:
        sqs, s3 = client("sqs", url), client("s3", url)
        queue = sqs.create_queue(QueueName="rollouts")["QueueUrl"]
        s3.create_bucket(Bucket="claims", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Intake(url, queue, sqs, s3)


@pytest.fixture
def environ(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    variables = {
        "AWS_ENDPOINT_URL": intake.url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "MTRL_QUEUE_URL": intake.queue,
        "MTRL_CLAIM_CHECK_BUCKET": "claims",
        "MTRL_ACCOUNT_ID": "111122223333",
        "MTRL_JOB_NAME_PREFIX": "desk-",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    intake.messages()
    return monkeypatch


@pytest.mark.usefixtures("environ")
async def test_a_request_arrives_stamped_and_otherwise_untouched(intake: Intake) -> None:
    agent = ForwarderAgent(HANDLER, workers=2)
    before = time.time()
    try:
        assert await agent.invoke(event(prompt="später \x07 \U0001f600"), timeout=60) == {}
    finally:
        await agent.close()
    (message,) = intake.messages()
    assert before <= message.pop("received_at") <= time.time()
    assert message == event(prompt="später \x07 \U0001f600")


@pytest.mark.usefixtures("environ")
async def test_refusals_reach_the_service_as_the_right_kind() -> None:
    agent = ForwarderAgent(HANDLER, workers=1)
    try:
        with pytest.raises(AgentError, match=r"metadata\.jobArn") as refused:
            await agent.invoke(event(jobArn=JOB.replace("1111", "9999")), timeout=60)
        assert not refused.value.retryable
    finally:
        await agent.close()


@pytest.mark.usefixtures("environ")
def test_what_the_worker_reads_is_what_was_sent(intake: Intake) -> None:
    assert load().handler(event(), None) == {}
    (message,) = intake.messages()
    request = RolloutRequest.from_wire(message)
    assert (request.prompt, request.rollout_id, request.job_arn) == ("do it", "r1", JOB)
    assert request.received_at == pytest.approx(time.time(), abs=60)


@pytest.mark.usefixtures("environ")
def test_a_request_cannot_move_its_own_deadline(intake: Intake) -> None:
    assert load().handler({**event(), "received_at": 9e9}, None) == {}
    (message,) = intake.messages()
    assert message["received_at"] == pytest.approx(time.time(), abs=60)


@pytest.mark.usefixtures("environ")
def test_a_large_request_is_put_aside_before_the_queue_is_told(intake: Intake) -> None:
    handler = load().handler
    large = event(prompt="x" * 950_000)
    assert handler(large, None) == {}
    assert handler(large, None) == {}  # the service's retry overwrites the same object
    first, second = intake.messages()
    assert first["claim_check"] == second["claim_check"]
    assert first["claim_check"].startswith("claim-checks/desk-1/")
    stored = json.loads(intake.s3.get_object(Bucket="claims", Key=first["claim_check"])["Body"].read())
    assert stored.pop("received_at") > 0
    assert stored == large


def test_a_large_request_without_a_bucket_is_refused(
    intake: Intake, environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ.delenv("MTRL_CLAIM_CHECK_BUCKET")
    answer = load().handler(event(prompt="secret" * 200_000), None)
    assert answer["errorType"] == "ValidationError"
    assert "921600" in answer["errorMessage"]
    assert intake.messages() == []
    assert "secret" not in capsys.readouterr().out


def test_a_failing_queue_is_worth_a_retry(environ: pytest.MonkeyPatch, intake: Intake) -> None:
    environ.setenv("MTRL_QUEUE_URL", intake.queue + "-gone")
    assert load().handler(event(), None)["errorType"] == "InternalServerError"
    environ.delenv("MTRL_QUEUE_URL")
    answer = load().handler(event(), None)
    assert answer == {
        "errorType": "InternalServerError",
        "errorMessage": "MTRL_QUEUE_URL is not set on this function",
    }


@pytest.mark.usefixtures("environ")
@pytest.mark.parametrize(
    ("wrong", "kind", "field"),
    [
        ("text", "ValidationError", "body"),
        ({"body": "{"}, "ValidationError", "body"),
        ({"prompt": "p"}, "ValidationError", "metadata"),
        ({**event(), "prompt": 7}, "ValidationError", "prompt"),
        ({**event(), "prompt": " "}, "ValidationError", "prompt"),
        (event(jobArn="arn:aws:s3:::x"), "ValidationError", "metadata.jobArn"),
        (event(rolloutId="a b"), "ValidationError", "metadata.rolloutId"),
        (event(rolloutId="x" * 257), "ValidationError", "metadata.rolloutId"),
        (event(jobArn=JOB.replace(REGION, "eu-west-1")), "AccessDenied", "metadata.jobArn"),
        (event(jobArn=JOB.replace("1111", "9999")), "AccessDenied", "metadata.jobArn"),
        (event(jobArn=JOB.replace("desk-1", "other-1")), "AccessDenied", "metadata.jobArn"),
    ],
)
def test_each_wrong_request(intake: Intake, wrong: Any, kind: str, field: str) -> None:
    answer = load().handler(wrong, None)
    assert answer["errorType"] == kind
    assert answer["errorMessage"].startswith(f"{field}:")
    assert intake.messages() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.usefixtures("environ")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    json_values
    | st.fixed_dictionaries(
        {},
        optional={
            "prompt": json_values,
            "metadata": json_values,
            "instance": json_values,
            "body": json_values,
        },
    )
)
def test_no_event_makes_it_raise(wrong: Any) -> None:
    answer = HANDLER_MODULE.handler(wrong, None)
    assert answer["errorType"] in ("ValidationError", "AccessDenied")


HANDLER_MODULE = load()


def test_its_calls_take_no_longer_than_the_settings_say() -> None:
    config = HANDLER_MODULE._CONFIG
    attempts = config.retries["total_max_attempts"]
    longest_pauses = sum(2**n + ASKED_PAUSE_SECONDS for n in range(attempts - 1))
    call = attempts * (config.connect_timeout + config.read_timeout) + longest_pauses
    assert 2 * call == FORWARDER_CALLS_SECONDS  # a large request is put into S3 first


@pytest.fixture
def silence() -> Iterator[list[socket.socket]]:
    """Connections to a server that accepts and never answers; the first element is its own socket."""
    server = socket.create_server(("127.0.0.1", 0), backlog=50)
    connections = [server]

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connections.append(server.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    yield connections
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for each in connections:
        each.close()


@pytest.mark.parametrize("large", [False, True])
def test_a_silent_service_is_given_up_after_two_attempts(
    environ: pytest.MonkeyPatch, silence: list[socket.socket], large: bool
) -> None:
    environ.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silence[0].getsockname()[1]}")
    module = load()
    environ.setattr(module, "_CONFIG", module._CONFIG.merge(Config(read_timeout=0.2)))
    began = time.monotonic()
    answer = module.handler(event("x" * 950_000 if large else "do it"), None)
    assert answer["errorType"] == "InternalServerError"
    assert "Read timeout" in answer["errorMessage"]
    assert len(silence) - 1 == 2
    assert time.monotonic() - began < 2 * 0.2 + 1 + 2  # both attempts, the pause, and the making of a client


def test_the_package_is_small() -> None:
    assert sum(path.stat().st_size for path in HANDLER.parent.rglob("*.py")) < 20_000

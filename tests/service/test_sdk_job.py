"""The public SDK, unchanged, in a process of its own: an agent on its decorator, and a caller that waits."""

import os
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehearsal.service.options import REGION

from .stand_in import StandIn, dataset, metrics, training
from .test_runner_process import free_port

SDK_PYTHON = os.environ.get("MTRL_TEST_SAGEMAKER_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not SDK_PYTHON, reason="MTRL_TEST_SAGEMAKER_PYTHON names no Python with the sagemaker SDK"
)

AGENT = """
    import json, sys
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    import requests
    from sagemaker.core.token_generator import generate_token
    from sagemaker.train.rft import RolloutFeedbackClient, make_inference_headers, sagemaker_rft_handler

    def turn(metadata, token, messages):
        headers = {**make_inference_headers(metadata), "Authorization": f"Bearer {token}"}
        body = {"model": "default", "messages": messages, "temperature": 1.0}
        url = metadata["endpoint"] + "/v1/chat/completions"
        answer = requests.post(url, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()["choices"][0]["message"]

    @sagemaker_rft_handler
    def invoke(payload):
        metadata, number = payload["metadata"], int(payload["prompt"])
        token = generate_token(region=metadata["region"])
        messages = [{"role": "user", "content": f"case: {number}"}]
        messages.append(turn(metadata, token, messages))
        if number % 4 == 0:
            return {"reward": 0.5}
        if number % 4 == 1:
            messages.append({"role": "user", "content": "Are you sure?"})
            turn(metadata, token, messages)
            return {"reward": [0.25, 0.5]}
        if number % 4 == 2:
            raise RuntimeError("the agent broke")
        # By hand, and then once more by the decorator, whose report meets a 409.
        feedback = RolloutFeedbackClient(metadata)
        feedback.report_complete(1.0)
        return {"reward": 1.0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, body = 200, json.dumps(invoke(payload)).encode()
            except Exception as error:
                status, body = 500, json.dumps({"message": str(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
"""

CALLER = """
    import sys
    from sagemaker.train.agent_rft_job import AgentRFTJob

    job = AgentRFTJob.get("sdk")
    job.wait(poll=1, timeout=60)
    job.refresh()
    print("END", job.job_status, job.output_model_package_arn, job.progress_info["CurrentStep"])
    print("USED", job.billable_token_usage["TrainTokenCount"] > 0)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def sdk(script: str, environment: dict[str, str], *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [SDK_PYTHON, "-c", textwrap.dedent(script), *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_an_agent_on_the_sdk_is_trained(tmp_path: Path, environment: dict[str, str]) -> None:
    out, port = tmp_path / "out", free_port()
    data = dataset(tmp_path / "train.jsonl")
    service = StandIn(tmp_path / "state", agents={"*": f"http://127.0.0.1:{port}"})
    # The last one too: while it waits, the SDK asks CloudWatch Logs, which is not to leave this machine.
    names = ("AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_SAGEMAKERJOBRUNTIME", "AWS_ENDPOINT_URL")
    caller_environment = environment | dict.fromkeys(names, service.url)
    try:
        with sdk(AGENT, environment, str(port)) as agent:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "ready\n"
            hyperparameters = {"max_steps": 1, "advantage_method": "group_based_per_turn"}
            arn = service.create("sdk", training(data, out, **hyperparameters))
            with sdk(CALLER, caller_environment) as caller:
                told, _ = caller.communicate(timeout=90)
        job = service.wait("sdk")
        counts = service.counts(arn)
    finally:
        service.close()
    assert job["JobStatus"] == "Completed", job.get("FailureReason")
    assert f"END Completed {job['output']['OutputModelPackageArn']} 1" in told
    assert "USED True" in told
    (line,) = metrics(out, "sdk")
    assert line["analysis/batch_completion_ratio"] == 1.0
    assert line["analysis/batch_valid_ratio"] == 0.75
    assert line["rollout/reward/valid_mean"] == pytest.approx((0.5 + 0.75 + 1.0) / 3)
    assert line["rollout/turns/max"] == 2
    assert counts == {
        "trajectories": 64,
        "samples": 80,
        "sealed_ready": 48,
        "sealed_failed": 16,
        # Of the failed ones too: `report_error` sends a reward after its seal.
        "rewards": 64,
        # The decorator's own report after the one by hand. Its 409 is logged, and no reward follows.
        "seal_refused": 16,
    }

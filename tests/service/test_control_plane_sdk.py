"""The public SDK, unchanged, in a process and a virtual environment of its own."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_control_plane import OUTPUT, REGION, Served

SDK_PYTHON = os.environ.get("MTRL_TEST_SAGEMAKER_PYTHON", "")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.close()


SDK_SCRIPT = """
import sys
from sagemaker.train.agent_rft_job import AgentRFTJob

job = AgentRFTJob.get(sys.argv[1])
assert job.job_status == "InProgress", job.job_status
print("attached", flush=True)
job.wait(poll=1, timeout=60)
job.refresh()
print(job.job_status, job.output_model_package_arn, job.progress_info["CurrentStep"])
print([found.job_name for found in AgentRFTJob.get_all()])
"""


@pytest.mark.skipif(
    not SDK_PYTHON, reason="MTRL_TEST_SAGEMAKER_PYTHON names no Python with the sagemaker SDK"
)
def test_the_public_sdk_waits_for_a_job(served: Served, tmp_path: Path) -> None:
    served.create("sdk")
    # Both names: while it waits, the SDK also asks CloudWatch Logs, which is not to leave this machine.
    endpoint = f"http://127.0.0.1:{served.port}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_SAGEMAKER": endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    process = subprocess.Popen(
        [SDK_PYTHON, "-c", SDK_SCRIPT, "sdk"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        seen = next((line for line in process.stdout if line.strip() == "attached"), None)
        assert seen, "the SDK did not attach"
        _play(served, "sdk")
        output = process.stdout.read()
        assert process.wait(60) == 0, output
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert f"Completed {OUTPUT} 2" in output
    assert "['sdk']" in output


def _play(served: Served, name: str) -> None:
    """What a runner does to a job, in two seconds."""
    record = served.record(name)
    for secondary in ("Downloading", "Training"):
        served.call(served.jobs.advance, record, secondary)
    for step in (1, 2):
        progress = {"ProgressInfo": {"MaxSteps": 2, "CurrentStep": step}}
        served.call(lambda progress=progress: served.jobs.progress(record, service_output=progress))
        time.sleep(1)
    served.call(lambda: served.jobs.progress(record, service_output={"OutputModelPackageArn": OUTPUT}))
    served.call(served.jobs.advance, record, "Uploading")
    served.finish(name)

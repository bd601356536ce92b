"""The job: an evaluation of the sop environment, as many rollouts as asked for."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from adapters.contract import Task
from adapters.environments.sop import create
from bench.chaos_kit.faulty_sop import kind_of
from bench.chaos_kit.rows import Row
from mtrl.rehearsing.jobs import BASE_MODEL, ROLE, SCHEMA_VERSION
from mtrl.rehearsing.processes import rehearsal_credentials
from rehearsal.service.options import ACCOUNT, REGION

GROUP = 5
"""Rollouts of each prompt."""
NAME, CATEGORY = "chaos", "AgentRFTEvaluation"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forwarder"
POLL_SECONDS = 0.5
PROMPTS = "prompts.jsonl"
OVERSIZED_BYTES = 1_000_000
"""More than a queue message holds: it travels as a claim check."""


class Job:
    """A job at the stand-in."""

    def __init__(self, endpoint: str) -> None:
        keys = rehearsal_credentials()
        self._endpoint = endpoint
        self._client = boto3.client(
            "sagemaker",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    async def start(self, row: Row, rollouts: int, folder: Path) -> None:
        await asyncio.to_thread(
            self._client.create_job,
            JobName=NAME,
            JobCategory=CATEGORY,
            RoleArn=ROLE,
            JobConfigSchemaVersion=SCHEMA_VERSION,
            JobConfigDocument=json.dumps(_document(row, write_prompts(row, rollouts, folder), folder)),
        )

    async def ended(self, seconds: float) -> str:
        """Wait for its end; what it ended with."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            told = await asyncio.to_thread(self._client.describe_job, JobName=NAME, JobCategory=CATEGORY)
            if told["JobStatus"] not in ("InProgress", "Stopping"):
                return " ".join((told["JobStatus"], told.get("FailureReason", ""))).strip()
            await asyncio.sleep(POLL_SECONDS)
        return f"did not end within {seconds:g} s"

    async def counts(self) -> Mapping[str, int]:
        """The service's own counters."""

        def read() -> Mapping[str, Mapping[str, int]]:
            with urllib.request.urlopen(f"{self._endpoint}/_rehearsal/counts", timeout=30) as answer:  # noqa: S310
                by_job: Mapping[str, Mapping[str, int]] = json.loads(answer.read())
                return by_job

        by_job = await asyncio.to_thread(read)
        return next((c for arn, c in by_job.items() if arn.endswith(f"/{NAME}")), {})


def size_problem(rollouts: int) -> str | None:
    """Why a job cannot be of this size, as a sentence with the next act."""
    most = len(_tasks()) * GROUP
    if rollouts % GROUP:
        above = (rollouts // GROUP + 1) * GROUP
        return f"{rollouts} is no multiple of {GROUP}, the rollouts of a prompt; the next is {above}"
    return f"{rollouts} is above {most}, {GROUP} of each task that there is" if rollouts > most else None


def _tasks() -> list[Task]:
    source = create({})
    return [*source.tasks("returns_desk", "test"), *source.tasks("returns_desk", "train")]


def write_prompts(row: Row, rollouts: int, folder: Path) -> Path:
    """The data set: one prompt a group, and if the row says so, some that are no task."""
    wanted = rollouts // GROUP
    prompts = [task.to_prompt() for task in _tasks()[:wanted]]
    if row.poison:
        bad = poison(wanted)
        prompts[: len(bad)] = bad
    path = folder / PROMPTS
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return path


def poison(prompts: int) -> list[str]:
    """Four prompts in a hundred, at least one, of each kind: unknown environment, malformed, far too large.

    One in a hundred would be 30 rollouts of a thousand: too few to hit the hundred that a row must hit.
    """
    each = max(1, prompts * 4 // 100)
    large = {"return_id": "x" * OVERSIZED_BYTES}
    kinds: list[dict[str, Any]] = [
        {"environment": "nobodys", "input": {}},
        {"environment": "sop", "input": {"domain": 5}},
        {"environment": "sop", "input": {"domain": "nobodys", "case": large}},
    ]
    return [json.dumps({"id": f"bad-{n}", **kind}) for n in range(each) for kind in kinds]


def spoiled(folder: Path) -> int:
    """Rollouts of a data set whose environment goes wrong, if it is the one with faults."""
    lines = (folder / PROMPTS).read_text().splitlines()
    return GROUP * sum(kind_of(Task.from_prompt(json.loads(line)["prompt"])) is not None for line in lines)


def _document(row: Row, data: Path, folder: Path) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data.resolve().as_uri()}}
    return {
        "AgentConfig": {"CustomAgentLambdaConfig": {"LambdaArn": FUNCTION}},
        "InputDataConfig": [{"ChannelName": "evaluation", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": (folder / "output").resolve().as_uri()},
        "EvaluationConfig": {
            "BaseModelArn": BASE_MODEL,
            "AcceptEula": True,
            "HyperParameters": {
                "eval_group_size": str(GROUP),
                "pass_k_values": "[1]",
                "rollout_max_concurrency": str(row.in_flight),
                "rollout_timeout": str(row.timeout),
                "rollout_max_retries": str(row.attempts),
            },
        },
    }

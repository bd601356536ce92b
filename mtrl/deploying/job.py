"""The job: one training step through the deployed forwarder, and what the stand-in counted of it."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from adapters.contract import TaskSource
from adapters.runtime.plugins import load_environment
from mtrl.deploying.emulator import ACCOUNT, REGION
from mtrl.rehearsing.jobs import BASE_MODEL, POLL_SECONDS, SCHEMA_VERSION, JobFailed
from mtrl.rehearsing.processes import rehearsal_credentials

PROMPTS, GROUP = 32, 2
"""The smallest batch that the service takes, in the smallest groups."""
ROLLOUTS = PROMPTS * GROUP
CATEGORY = "AgentRFT"
SECONDS = 240.0
"""Less than rollout_timeout: a rollout that is lost ends the command, not the patience."""
HARMLESS = frozenset(
    {
        "trajectories",
        "samples",
        "sealed_ready",
        "sealed_failed",
        "rewards",
        "seal_repeated",
        "reward_repeated",
        "rollout_retries",
    }
)
"""The stand-in's other counters are breaches of the rollout life cycle."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the service saw of the rollouts of one job."""

    counters: Mapping[str, int]

    @property
    def completed(self) -> int:
        """Sealed `ready` and rewarded. A rollout sealed `failed` may have been rewarded too: it is none."""
        ready, failed = self.counters.get("sealed_ready", 0), self.counters.get("sealed_failed", 0)
        return max(0, min(ready, self.counters.get("rewards", 0) - failed))

    @property
    def breaches(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.items() if name not in HARMLESS and count}


class TrainingJob:
    """A job of one step, made through boto3 as it would be on AWS."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        self._endpoint = endpoint
        self._client = boto3.client(
            "sagemaker",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=rehearsal_credentials()["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=rehearsal_credentials()["AWS_SECRET_ACCESS_KEY"],
        )

    def run(self, function: str, data: Path, outputs: Path, tick: Callable[[Counts], None]) -> None:
        """Train one step on the agent behind a Lambda function.

        Raises:
            JobFailed: it failed, was stopped, or did not end in time.
        """
        self._client.create_job(
            JobName=self.name,
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy-local",
            JobCategory=CATEGORY,
            JobConfigSchemaVersion=SCHEMA_VERSION,
            JobConfigDocument=json.dumps(_document(function, data, outputs)),
        )
        deadline = time.monotonic() + SECONDS
        while (job := self._describe())["JobStatus"] != "Completed":
            tick(self.counts())
            if job["JobStatus"] in ("Failed", "Stopped"):
                raise JobFailed(f"Job {self.name} is {job['JobStatus']}: {job.get('FailureReason', '')}")
            if time.monotonic() > deadline:
                said = dict(self.counts().counters)
                raise JobFailed(f"Job {self.name} did not end within {SECONDS:g} s. Counted: {said}")
            time.sleep(POLL_SECONDS)
        tick(self.counts())

    def counts(self) -> Counts:
        """The service's own counts, by now."""
        with urllib.request.urlopen(f"{self._endpoint}/_rehearsal/counts", timeout=30) as answer:  # noqa: S310
            by_job = json.loads(answer.read())
        return Counts(next((c for arn, c in by_job.items() if arn.endswith(f"/{self.name}")), {}))

    def _describe(self) -> dict[str, Any]:
        return dict(self._client.describe_job(JobName=self.name, JobCategory=CATEGORY))


def write_tasks(environment: str, path: Path) -> None:
    """The environment's own training tasks, as many as one step takes.

    Raises:
        ValueError: it has too few, or none of its own.
    """
    source = load_environment(environment, {})
    if not isinstance(source, TaskSource):
        raise ValueError(f"The environment {environment!r} brings no tasks of its own.")
    domain = source.list_domains()[0]
    tasks = source.tasks(domain, "train")[:PROMPTS]
    if len(tasks) < PROMPTS:
        raise ValueError(f"{environment}/{domain} has {len(tasks)} training tasks; a step takes {PROMPTS}.")
    lines = (json.dumps({"prompt": task.to_prompt()}, ensure_ascii=False) for task in tasks)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _document(function: str, data: Path, outputs: Path) -> dict[str, Any]:
    groups = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data.resolve().as_uri()}}
    return {
        "AgentConfig": {"CustomAgentLambdaConfig": {"LambdaArn": function}},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": outputs.resolve().as_uri()},
        "ModelPackageConfig": {
            "OutputModelPackageGroupArn": f"{groups}/deploy-local",
            "IntermediateCheckpointModelPackageGroupArn": f"{groups}/deploy-local-steps",
        },
        "TrainingConfig": {
            "BaseModelArn": BASE_MODEL,
            "AcceptEula": True,
            "HyperParameters": {
                "global_batch_size": PROMPTS,
                "group_size": GROUP,
                "max_steps": 1,
                "val_every": 0,
            },
        },
    }

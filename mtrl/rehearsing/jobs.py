"""The jobs of a rehearsal, made through boto3 exactly as they would be made on AWS."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3

from mtrl.rehearsing.processes import read_json_lines
from rehearsal.service.options import ACCOUNT, REGION

POLL_SECONDS = 0.25
SCHEMA_VERSION = "1.0.0"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/rehearsal"
RUNTIME = f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/rehearsal-0000000000"
BASE_MODEL = f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/tiny-policy"
PACKAGES = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package-group"


class JobFailed(RuntimeError):
    """A job of the rehearsal ended as Failed or Stopped; the message is its FailureReason."""


class JobsClient:
    """Creates jobs against the stand-in and waits for them."""

    def __init__(self, endpoint: str, outputs: Path) -> None:
        self._client = boto3.client(
            "sagemaker",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",  # noqa: S106 - means nothing anywhere
        )
        self._outputs = outputs

    def train(
        self,
        name: str,
        channels: Mapping[str, Path],
        hyperparameters: Mapping[str, Any],
        tick: Callable[..., None],
    ) -> dict[str, Any]:
        """Run a training job to its end; the last DescribeJob answer, its document parsed."""
        groups = {
            "OutputModelPackageGroupArn": f"{PACKAGES}/rehearsal",
            "IntermediateCheckpointModelPackageGroupArn": f"{PACKAGES}/rehearsal-checkpoints",
        }
        config = {"BaseModelArn": BASE_MODEL, "AcceptEula": True, "HyperParameters": dict(hyperparameters)}
        document = self._document(channels) | {"ModelPackageConfig": groups, "TrainingConfig": config}
        return self._run(name, "AgentRFT", document, tick)

    def evaluate(
        self,
        name: str,
        dataset: Path,
        hyperparameters: Mapping[str, str],
        package: str | None,
        tick: Callable[..., None],
    ) -> dict[str, Any]:
        """Run an evaluation job of the base policy, or of a trained model package."""
        config = {"BaseModelArn": BASE_MODEL, "AcceptEula": True, "HyperParameters": dict(hyperparameters)}
        document = self._document({"evaluation": dataset}) | {"EvaluationConfig": config}
        if package is not None:
            document["ModelPackageConfig"] = {"InputModelPackageArn": package}
        return self._run(name, "AgentRFTEvaluation", document, tick)

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """What the job has written to its metrics file so far, one object a step.

        The service writes while we read, so the last line may be half there: it is left for the next time.
        """
        path = self._outputs / name / "metrics.jsonl"
        return list(read_json_lines(path)) if path.exists() else []

    def _document(self, channels: Mapping[str, Path]) -> dict[str, Any]:
        inputs = [
            {
                "ChannelName": name,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": path.resolve().as_uri()}},
            }
            for name, path in channels.items()
        ]
        return {
            "AgentConfig": {"BedrockAgentCoreConfig": {"AgentRuntimeArn": RUNTIME, "Qualifier": "DEFAULT"}},
            "InputDataConfig": inputs,
            "OutputDataConfig": {"S3OutputPath": self._outputs.resolve().as_uri()},
        }

    def _run(
        self, name: str, category: str, document: dict[str, Any], tick: Callable[..., None]
    ) -> dict[str, Any]:
        self._client.create_job(
            JobName=name,
            RoleArn=ROLE,
            JobCategory=category,
            JobConfigSchemaVersion=SCHEMA_VERSION,
            JobConfigDocument=json.dumps(document),
        )
        while True:
            job = self._client.describe_job(JobName=name, JobCategory=category)
            job.pop("ResponseMetadata")
            job["JobConfigDocument"] = json.loads(job["JobConfigDocument"])
            tick(job)
            if job["JobStatus"] in ("Failed", "Stopped"):
                raise JobFailed(f"Job {name} ended as {job['JobStatus']}: {job.get('FailureReason', '')}")
            if job["JobStatus"] == "Completed":
                return dict(job)
            time.sleep(POLL_SECONDS)

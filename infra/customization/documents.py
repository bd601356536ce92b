"""The JobConfigDocuments of a deployment (schema 1.0.0): plain data in, plain data out.

Only what a deployment decides is written; everything else is the service's default. What belongs to one
job alone (`MlflowRunName`, `InputModelPackageArn`, a `StoppingCondition`) is added by whoever starts it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.hyperparameters import ROLLOUTS, flat
from infra.names import Names
from infra.settings import Deployment
from infra.target_settings import AgentCore
from infra.targets.contract import Agent

Document = dict[str, object]
PUBLIC_HUB = "SageMakerPublicHub"
MLFLOW_PREFIX = "mlflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the documents refer to. Any of the strings may be a CDK token."""

    settings: Deployment
    agent: Agent
    key_arn: str
    mlflow_arn: str
    output_group_arn: str
    intermediate_group_arn: str
    subnets: tuple[str, ...] = ()
    """Empty unless the job runs in the VPC."""
    security_groups: tuple[str, ...] = ()

    @property
    def names(self) -> Names:
        return Names(self.settings)


def training(parts: Parts) -> Document:
    """Of an AgentRFT job."""
    given = parts.settings.customization.training
    # Without validations nobody uploads a validation set, and an empty channel fails the job.
    channels = ("train",) if str(given.get("val_every")) == "0" else ("train", "validation")
    return {
        **_shared(parts, "training", *channels),
        "ModelPackageConfig": {
            "OutputModelPackageGroupArn": parts.output_group_arn,
            "IntermediateCheckpointModelPackageGroupArn": parts.intermediate_group_arn,
        },
        "TrainingConfig": {**_model(parts), "HyperParameters": {**_decided(parts.settings), **given}},
    }


def evaluation(parts: Parts) -> Document:
    """Of an AgentRFTEvaluation job, of the base model until `InputModelPackageArn` names another one.

    Its hyperparameters are flat strings: the service refused numbers and nested objects.
    """
    values = {**_decided(parts.settings), **parts.settings.customization.evaluation}
    flattened = {name: flat(value) for name, value in values.items()}
    return {
        **_shared(parts, "evaluation", "evaluation"),
        "EvaluationConfig": {**_model(parts), "HyperParameters": flattened},
    }


def _shared(parts: Parts, kind: str, *channels: str) -> Document:
    prompts, outputs = parts.names.bucket("prompts"), parts.names.bucket("outputs")
    document: Document = {
        "AgentConfig": _agent(parts.agent),
        "InputDataConfig": [_channel(name, f"s3://{prompts}/{name}/") for name in channels],
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{outputs}/{kind}/",
            "KmsKeyArn": parts.key_arn,
            # The documentation has it here. The public SDK writes it into TrainingConfig, but for training
            # jobs only; for evaluation jobs it writes it here as well.
            "MlflowConfig": {
                "MlflowResourceArn": parts.mlflow_arn,
                "MlflowExperimentName": f"{parts.settings.name}-{kind}",
            },
        },
    }
    if parts.subnets:
        document["VpcConfig"] = {
            "Subnets": list(parts.subnets),
            "SecurityGroupIds": list(parts.security_groups),
        }
    return document


def _agent(agent: Agent) -> Document:
    if agent.runtime_arn is None:
        return {"CustomAgentLambdaConfig": {"LambdaArn": agent.forwarder_arn}}
    runtime = {"AgentRuntimeArn": agent.runtime_arn}
    if agent.endpoint is not None:
        runtime["Qualifier"] = agent.endpoint
    return {"BedrockAgentCoreConfig": runtime}


def _channel(name: str, uri: str) -> Document:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"ChannelName": name, "DataSource": source}


def _model(parts: Parts) -> Document:
    custom, names = parts.settings.customization, parts.names
    hub = f"arn:{names.partition}:sagemaker:{parts.settings.region}:aws:hub-content/{PUBLIC_HUB}"
    model: Document = {"BaseModelArn": f"{hub}/Model/{custom.base_model}"}
    # A licence is accepted, or it is not mentioned: the service then says which one it is about.
    return model | ({"AcceptEula": True} if custom.accept_eula else {})


def _decided(settings: Deployment) -> Mapping[str, object]:
    """The hyperparameters that must fit the deployment, whatever the service's defaults are."""
    values = {"rollout_timeout": settings.adapter.budget_seconds}
    target, most = settings.target, ROLLOUTS["rollout_max_concurrency"].high
    if not isinstance(target, AgentCore) and most is not None:
        # Rollouts that no worker has room for would wait on the queue, and their deadline would not.
        room = target.workers.max * settings.adapter.max_concurrency
        if room < most:
            values["rollout_max_concurrency"] = room
    return values

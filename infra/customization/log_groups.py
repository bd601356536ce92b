"""Retention and key for the log groups that services name themselves.

`/aws/sagemaker/Job/AgentRFT` is one group for the whole account and Region, shared by every deployment there:
a retention that is longer and a key that is already set are kept, and nothing is deleted with the stack. A
group keeps the key that came first, so an account should not deploy a short-lived environment before the
lasting one: with its key deleted, what was logged with it could not be read any more.
The group of an AgentCore runtime is this deployment's own: its settings replace what is there.

A key works on a log group only if its policy lets `logs.<region>.amazonaws.com` use it with the group's
encryption context: infra/foundation/key.py has the statement, and an adopted key needs it.
"""

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.function import function
from infra.names import Names
from infra.policy.statements import allow
from infra.settings import Deployment
from infra.targets.contract import Agent

TYPE = "Custom::MtrlLogGroups"
JOBS = "/aws/sagemaker/Job/AgentRFT"
RUNTIMES = "/aws/bedrock-agentcore/runtimes/"
DEFAULT_ENDPOINT = "DEFAULT"
ADJUST = ("CreateLogGroup", "PutRetentionPolicy", "AssociateKmsKey")


def log_groups(scope: Construct, settings: Deployment, agent: Agent, key: kms.IKey, root: Path) -> None:
    """One resource for the shared group, and one for those of the runtime."""
    provider = _provider(scope, settings, key, root)
    _resource(scope, "JobLogs", settings, key, provider, {"LogGroups": [JOBS], "Own": "false"})
    if agent.runtime_arn is not None:
        # By name, because the endpoint that jobs will use has not logged yet; and what others have left.
        pinned = runtime_group(agent.runtime_arn, agent.endpoint or DEFAULT_ENDPOINT)
        own = {"LogGroups": [pinned], "Prefixes": _runtime_prefixes(settings), "Own": "true"}
        _resource(scope, "AgentLogs", settings, key, provider, own)


def runtime_group(runtime_arn: str, endpoint: str) -> str:
    """The group of a runtime's endpoint; the runtime's id is what its ARN ends in."""
    return f"{RUNTIMES}{cdk.Fn.select(1, cdk.Fn.split('/', runtime_arn))}-{endpoint}"


def _runtime_prefixes(settings: Deployment) -> list[str]:
    return [] if settings.queued else [Names(settings).runtime_log_groups]


def _resource(
    scope: Construct,
    id_: str,
    settings: Deployment,
    key: kms.IKey,
    provider: lambda_.IFunction,
    properties: Mapping[str, object],
) -> None:
    cdk.CustomResource(
        scope,
        id_,
        resource_type=TYPE,
        service_token=provider.function_arn,
        properties={
            "RetentionDays": settings.observability.log_retention_days,
            "KmsKeyArn": key.key_arn,
            **properties,
        },
    )


def _provider(scope: Construct, settings: Deployment, key: kms.IKey, root: Path) -> lambda_.Function:
    names = Names(settings)
    jobs, every = names.arn("logs", f"log-group:{JOBS}"), names.arn("logs", "log-group:*")
    groups = [jobs, f"{jobs}:*"]
    reasons = {
        every: "DescribeLogGroups lists, and takes no narrower resource.",
        f"{jobs}:*": "How CloudWatch Logs writes the ARN of this one group.",
    }
    for prefix in _runtime_prefixes(settings):
        groups.append(names.arn("logs", f"log-group:{prefix}*"))
        reasons[groups[-1]] = "The endpoints of this one runtime each have a group."
    return function(
        scope,
        "log-groups",
        settings=settings,
        key=key,
        code=root / "lambda/service_resources",
        handler="log_groups.handler",
        description="Sets retention and key of log groups that services name themselves",
        timeout_seconds=120,
        environment={},
        statements=[
            allow("Find", ["logs:DescribeLogGroups"], [every]),
            allow("Adjust", [f"logs:{action}" for action in ADJUST], groups),
        ],
        wildcards=reasons,
    )

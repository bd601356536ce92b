"""The two functions that are woken once a minute, because nothing tells of what they look for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.function import SCHEDULED, function
from infra.names import Names
from infra.policy.acknowledgments import SERVERLESS, acknowledge
from infra.policy.statements import allow, key_use
from infra.settings import Deployment

JOB_WATCHER, GAUGES = "job-watcher", "gauges"
QUICK_LOOKS = 3
"""At the queue in one tick, 20 s apart (lambda/gauges): the last one and its second look end after 51 s."""
TIMEOUT_SECONDS = 55
"""Less than the minute between two ticks, so that they never overlap."""


def gauges(scope: Construct, *, settings: Deployment, key: kms.IKey, root: Path) -> lambda_.Function:
    """Publishes work that waits without a worker, and rewards that are all the same."""
    names = Names(settings)
    environment = _of_deployment(settings) | {"MTRL_ENVIRONMENT": settings.adapter.environment}
    statements = [
        # CloudWatch's actions take no resource; the condition bounds what can be written.
        allow("ReadRewards", ["cloudwatch:GetMetricStatistics"], ["*"]),
        allow(
            "Publish",
            ["cloudwatch:PutMetricData"],
            ["*"],
            StringEquals={"cloudwatch:namespace": settings.name},
        ),
    ]
    if settings.queued:
        environment["MTRL_QUEUE_URL"] = names.queue_url(names.queue)
        statements.append(allow("LookAtQueue", ["sqs:GetQueueAttributes"], [names.arn("sqs", names.queue)]))
    return _watcher(
        scope,
        GAUGES,
        settings=settings,
        key=key,
        code=root / "lambda/gauges",
        description="Publishes figures that no single metric holds: work without a worker, flat rewards",
        environment=environment,
        statements=statements,
        tick={"looks": QUICK_LOOKS} if settings.quick_gauges else None,
        wildcards={
            "*": "CloudWatch's metric actions take no resource. Reading yields figures and no data; writing "
            "is bound to the deployment's namespace by a condition."
        },
    )


def job_watcher(scope: Construct, *, settings: Deployment, key: kms.IKey, root: Path) -> lambda_.Function:
    """Publishes how the jobs are, and tells the topic when one ends."""
    names = Names(settings)
    return _watcher(
        scope,
        JOB_WATCHER,
        settings=settings,
        key=key,
        code=root / "lambda/job_watcher",
        description="Watches the jobs of the deployment: status, progress, billable tokens, stall",
        environment=_of_deployment(settings)
        | {
            "MTRL_JOB_NAME_PREFIX": settings.job_prefix,
            "MTRL_TOPIC_ARN": names.topic_arn,
            "MTRL_LEDGER_TABLE": names.ledger,
            "MTRL_STALL_MINUTES": str(settings.observability.stall_minutes),
        },
        statements=[
            allow("ListJobs", ["sagemaker:ListJobs"], ["*"]),
            allow("DescribeJobs", ["sagemaker:DescribeJob"], names.jobs),
            allow("Tell", ["sns:Publish"], [names.topic_arn]),
            allow("Remember", ["dynamodb:GetItem", "dynamodb:UpdateItem"], [names.ledger_arn]),
            key_use("Key", key.key_arn, names, ["sns", "dynamodb"], ["Decrypt", "GenerateDataKey"]),
        ],
        wildcards={
            "*": "ListJobs names no job: it is how the watcher learns which jobs there are.",
            **dict.fromkeys(names.jobs, "Jobs are named when they are started; the prefix bounds them."),
        },
    )


def _of_deployment(settings: Deployment) -> dict[str, str]:
    return {"MTRL_METRICS_NAMESPACE": settings.name, "MTRL_DEPLOYMENT": settings.name}


def _watcher(
    scope: Construct,
    noun: str,
    *,
    settings: Deployment,
    key: kms.IKey,
    code: Path,
    description: str,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    wildcards: Mapping[str, str],
    tick: Mapping[str, int] | None = None,
) -> lambda_.Function:
    """A function with a tick a minute. A tick that cannot be delivered in time is worth nothing later."""
    names = Names(settings)
    made = function(
        scope,
        noun,
        settings=settings,
        key=key,
        code=code,
        description=description,
        environment=environment,
        statements=statements,
        wildcards=wildcards,
        timeout_seconds=TIMEOUT_SECONDS,
        invoked=SCHEDULED,
    )
    rule = f"{names.function(noun)}-every-minute"
    every_minute = events.CfnRule(
        scope,
        f"{noun}-tick",
        name=rule,
        description=f"Once a minute for {names.function(noun)}",
        schedule_expression="rate(1 minute)",
        targets=[
            events.CfnRule.TargetProperty(
                id="function",
                arn=made.function_arn,
                input=json.dumps(tick) if tick else None,
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_retry_attempts=0, maximum_event_age_in_seconds=60
                ),
            )
        ],
    )
    acknowledge(every_minute, SCHEDULED.no_dead_letters, (SERVERLESS, "EventBusDLQ"))
    made.add_permission(
        "Tick",
        principal=iam.ServicePrincipal("events.amazonaws.com"),
        source_arn=names.arn("events", f"rule/{rule}"),
    )
    return made

"""A Lambda function of ours: its code by folder, its own role, its own log group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.log_group import log_group
from infra.names import Names
from infra.policy.acknowledgments import HIPAA, NIST, PCI, SERVERLESS, acknowledge, acknowledge_in
from infra.policy.roles import role
from infra.policy.statements import allow, key_use
from infra.settings import Deployment

NOT_CODE = ["__pycache__", "*.pyc", "*.md"]
NO_VPC = (
    "It talks to AWS APIs alone, over TLS, and to nothing inside of a VPC; a VPC would add cold starts and "
    "endpoints to pay for, and close nothing."
)
NO_TRACES = "It is one call deep, its log says how long that took, and X-Ray's permissions name no resource."


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """How a function is invoked, and what follows from it for the policy packs."""

    no_dead_letters: str
    """Why it has no queue for failed invocations."""
    shared_concurrency: str
    """Why it may go without reserved concurrency."""
    asynchronous_retries: int | None = None
    """How often Lambda repeats a failed asynchronous invocation; None where there are none."""


CALLED = Invocation(
    no_dead_letters="Only asynchronous invocations leave dead letters, and what invokes this function waits "
    "for its answer and repeats the call itself.",
    shared_concurrency="Reserving concurrency takes it from the rest of the account, which has 1,000 at "
    "first; it is a setting (intake.reserved_concurrency), used in production.",
)
SCHEDULED = Invocation(
    no_dead_letters="A minute's tick carries nothing that could be worked on later: the next one reads the "
    "same state afresh. Ticks that fail stop the figures, and the alarms on them take silence for trouble.",
    shared_concurrency="One tick a minute, shorter than a minute, runs one copy; reserving even one takes "
    "it from an account that may have only ten.",
    asynchronous_retries=0,
)


def function(
    scope: Construct,
    noun: str,
    *,
    settings: Deployment,
    key: kms.IKey,
    code: Path,
    handler: str = "handler.handler",
    description: str,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    wildcards: Mapping[str, str] | None = None,
    memory_mb: int = 256,
    timeout_seconds: int = 30,
    reserved_concurrency: int | None = None,
    invoked: Invocation = CALLED,
) -> lambda_.Function:
    """`<name>-<noun>`: Python on arm64, with the runtime's own boto3 and nothing else."""
    names = Names(settings)
    name = names.function(noun)
    logs = log_group(scope, f"{noun}-logs", name=f"/aws/lambda/{name}", settings=settings, key=key)
    streams = names.arn("logs", f"log-group:/aws/lambda/{name}:*")
    executor = role(
        scope,
        f"{noun}-role",
        trusted=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=f"What {name} may do",
        statements=[
            *statements,
            key_use("ReadEnvironment", key.key_arn, names, ["lambda"], ["Decrypt"]),
            # The group exists already: it need not be created.
            allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams]),
        ],
        wildcards={streams: "The streams of the function's own log group.", **(wildcards or {})},
    )
    made = lambda_.Function(
        scope,
        noun,
        function_name=name,
        description=description,
        runtime=lambda_.Runtime.PYTHON_3_14,
        architecture=lambda_.Architecture.ARM_64,
        handler=handler,
        code=lambda_.Code.from_asset(str(code), exclude=NOT_CODE),
        memory_size=memory_mb,
        timeout=cdk.Duration.seconds(timeout_seconds),
        reserved_concurrent_executions=reserved_concurrency,
        retry_attempts=invoked.asynchronous_retries,
        role=executor,
        log_group=logs,
        environment_encryption=key,
        environment=dict(environment),
    )
    acknowledge_in(made, NO_VPC, "LambdaInsideVPC", (NIST, HIPAA, PCI))
    acknowledge(made, NO_TRACES, (SERVERLESS, "LambdaTracing"))
    acknowledge_in(made, invoked.no_dead_letters, "LambdaDLQ", (NIST, HIPAA, SERVERLESS))
    if reserved_concurrency is None:
        acknowledge_in(made, invoked.shared_concurrency, "LambdaConcurrency", (NIST, HIPAA))
    if invoked.asynchronous_retries is not None:
        acknowledge(made, invoked.no_dead_letters, (SERVERLESS, "LambdaAsyncFailureDestination"))
    return made

"""What the emulator holds: the deployed forwarder, and what is left of the rollouts after the job."""

from collections.abc import Mapping
from dataclasses import dataclass

from mtrl.deploying.emulator import Emulator
from mtrl.rehearsing.processes import ProcessError

WAITING = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class Remains:
    """Messages and ledger items, once the worker has ended."""

    queue: int = 0
    dead_letters: int = 0
    ledger: int = 0


def forwarder(aws: Emulator, stack: str) -> str:
    """The ARN of the forwarder that a stack has made.

    Raises:
        ProcessError: there is not exactly one.
    """
    resources = aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    functions = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::Lambda::Function"]
    if len(functions) != 1:
        raise ProcessError(f"The stack {stack} has {len(functions)} functions instead of one.")
    told = aws.client("lambda").get_function(FunctionName=functions[0])
    return str(told["Configuration"]["FunctionArn"])


def remains(aws: Emulator, environ: Mapping[str, str]) -> Remains:
    """Counted in the queues and the table that the container definition names."""
    return Remains(
        queue=_messages(aws, environ["MTRL_QUEUE_URL"]),
        dead_letters=_messages(aws, environ["MTRL_DEAD_LETTER_URL"]),
        ledger=_items(aws, environ["MTRL_LEDGER_TABLE"]),
    )


def _messages(aws: Emulator, url: str) -> int:
    told = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(WAITING))["Attributes"]
    return sum(int(told.get(name, 0)) for name in WAITING)


def _items(aws: Emulator, table: str) -> int:
    pages = (
        aws.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=table, Select="COUNT", ConsistentRead=True)
    )
    return sum(int(page["Count"]) for page in pages)

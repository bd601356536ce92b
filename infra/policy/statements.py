"""IAM statements by resource ARN, each with a Sid that says what it is for."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam

from infra.names import Names, Noun


def allow(
    sid: str, actions: Sequence[str], resources: Sequence[str], **conditions: object
) -> iam.PolicyStatement:
    """One `Allow` statement; `conditions` are IAM operators, such as `StringEquals={...}`."""
    return iam.PolicyStatement(
        sid=sid, actions=list(actions), resources=list(resources), conditions=conditions or None
    )


def key_use(
    sid: str, key_arn: str, names: Names, services: Sequence[str], actions: Sequence[str]
) -> iam.PolicyStatement:
    """Use of a key, but only through the named services of the Region."""
    via = [f"{service}.{names.settings.region}.amazonaws.com" for service in services]
    return allow(
        sid, [f"kms:{action}" for action in actions], [key_arn], StringEquals={"kms:ViaService": via}
    )


def send(sid: str, names: Names, *queues: str) -> iam.PolicyStatement:
    return allow(sid, ["sqs:SendMessage"], [names.arn("sqs", queue) for queue in queues])


def receive(names: Names) -> iam.PolicyStatement:
    """What a worker does with messages."""
    actions = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")
    return allow("Receive", [f"sqs:{action}" for action in actions], [names.arn("sqs", names.queue)])


def ledger(names: Names) -> iam.PolicyStatement:
    """Claims, leases and outcomes: one conditional write each; what stands is read from a refusal."""
    return allow("RolloutLedger", ["dynamodb:UpdateItem"], [names.ledger_arn])


def objects(
    sid: str, actions: Sequence[str], names: Names, noun: Noun, prefix: str = ""
) -> iam.PolicyStatement:
    """Actions on the objects of a bucket, below a key prefix."""
    return allow(sid, [f"s3:{action}" for action in actions], [f"{names.bucket_arn(noun)}/{prefix}*"])

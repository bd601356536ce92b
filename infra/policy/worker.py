"""What a queue worker may do, whichever target it runs on."""

from aws_cdk import aws_iam as iam

from infra.names import Names
from infra.policy.adapter import adapter_statements, adapter_wildcards
from infra.policy.statements import key_use, ledger, objects, receive, send

CLAIM_CHECKS = "claim-checks/"
ROLLOUT_LOGS = "rollout-logs/"


def worker_statements(names: Names, key_arn: str) -> list[iam.PolicyStatement]:
    """What every adapter does; queue, dead letters, ledger, claim checks, logs, and the key for those."""
    return [
        *adapter_statements(names, key_arn),
        receive(names),
        send("Bury", names, names.dead_letters),
        ledger(names),
        objects("ReadClaimChecks", ["GetObject"], names, "rollout_logs", CLAIM_CHECKS),
        # No deletion: the lifecycle of the bucket does that.
        objects("KeepRolloutLogs", ["GetObject", "PutObject"], names, "rollout_logs", ROLLOUT_LOGS),
        key_use("Key", key_arn, names, ["sqs", "s3", "dynamodb"], ["Decrypt", "GenerateDataKey"]),
    ]


def worker_wildcards(names: Names) -> dict[str, str]:
    """The reasons for each `*` in `worker_statements`."""
    return {
        **adapter_wildcards(names),
        f"{names.bucket_arn('rollout_logs')}/{CLAIM_CHECKS}*": "One claim check a large request; read-only.",
        f"{names.bucket_arn('rollout_logs')}/{ROLLOUT_LOGS}*": "One log a rollout that is not finished.",
    }

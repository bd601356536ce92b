"""What every adapter may do, on whichever target, and the reasons for each `*` in it."""

from aws_cdk import aws_iam as iam

from infra.names import Names
from infra.policy.statements import allow, key_use, objects

TRANSCRIPTS = "transcripts/"
"""Where an adapter archives them (adapters/runtime/archive.py)."""
RUNTIME_CALLS = ("Sample", "SampleWithResponseStream", "CompleteRollout", "UpdateReward")


def adapter_statements(names: Names, key_arn: str) -> list[iam.PolicyStatement]:
    """The Job Runtime's calls, which need the job's key too, and the archive of transcripts."""
    return [
        allow("JobRuntime", [f"sagemaker:{call}" for call in RUNTIME_CALLS], names.jobs),
        # A bearer token names no resource; the four calls above bound what it can be used for.
        allow("BearerToken", ["sagemaker:CallWithBearerToken"], ["*"]),
        key_use("JobKey", key_arn, names, ["sagemaker"], ["Decrypt", "GenerateDataKey"]),
        objects("Archive", ["PutObject"], names, "transcripts", TRANSCRIPTS),
        key_use("ArchiveKey", key_arn, names, ["s3"], ["Decrypt", "GenerateDataKey"]),
    ]


def adapter_wildcards(names: Names) -> dict[str, str]:
    jobs = "Jobs are named when they are started; the deployment's prefix bounds them."
    return {
        "*": "CallWithBearerToken names no resource; the job statement bounds what a token may do.",
        **dict.fromkeys(names.jobs, jobs),
        f"{names.bucket_arn('transcripts')}/{TRANSCRIPTS}*": "One object a transcript: written, never read.",
    }

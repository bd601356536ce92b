"""What every adapter may do, on whichever target, and the reasons for each `*` in it."""

from aws_cdk import aws_iam as iam

from infra.names import Names
from infra.policy.statements import allow, key_use, objects
from infra.seal_keys import secret_arn

TRANSCRIPTS = "transcripts/"
"""Where an adapter archives them (adapters/runtime/archive.py)."""
SEAL_CONTEXT = "mtrl:seal-key"
"""The encryption context of a wrapped key (adapters/runtime/seal_keys.py)."""
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
        *_seal_keys(names),
    ]


def _seal_keys(names: Names) -> list[iam.PolicyStatement]:
    """The one secret, or the one key, that opens sealed data sets; nothing where none is named."""
    place, key = names.settings.adapter.seal_keys, names.settings.adapter.seal_key_arn
    secret = secret_arn(place)
    if secret is None:
        # Only what was wrapped as a key of the ring: KMS checks the context, and this that there is one.
        wrapped = {f"kms:EncryptionContext:{SEAL_CONTEXT}": "false"}
        return [allow("SealKeys", ["kms:Decrypt"], [key], Null=wrapped)] if key is not None else []
    read = allow("SealKeys", ["secretsmanager:GetSecretValue"], [secret])
    if key is None:
        return [read]
    through = {
        "kms:ViaService": f"secretsmanager.{names.settings.region}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret,
    }
    return [read, allow("SealKeysKey", ["kms:Decrypt"], [key], StringEquals=through)]


def adapter_wildcards(names: Names) -> dict[str, str]:
    jobs = "Jobs are named when they are started; the deployment's prefix bounds them."
    return {
        "*": "CallWithBearerToken names no resource; the job statement bounds what a token may do.",
        **dict.fromkeys(names.jobs, jobs),
        f"{names.bucket_arn('transcripts')}/{TRANSCRIPTS}*": "One object a transcript: written, never read.",
    }

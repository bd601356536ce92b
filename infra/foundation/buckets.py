"""The buckets: TLS only, versioned, with a lifecycle and access logs."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.names import Names, Noun
from infra.policy.acknowledgments import HIPAA, NIST, PCI, acknowledge_in
from infra.removal import removal
from infra.settings import Deployment

ACCESS_LOG_DAYS = 365
NONCURRENT_DAYS = 30
"""How long a version stays that was replaced, deleted or expired: the time to notice a mistake."""
LOG_NONCURRENT_DAYS = 1
"""The least that S3 takes. Logs are written anew as rollouts go on: nobody comes back for an earlier one."""
NO_REPLICA = (
    "A replica in another Region is of no use to a job, which reads in its own Region; versioning and the "
    "retention of the bucket guard against deletion."
)


def buckets(scope: Construct, settings: Deployment, key: kms.IKey) -> None:
    """Create the buckets that the settings do not adopt. Others know them by name (infra/names.py)."""
    foundation = settings.foundation
    rules: dict[Noun, list[s3.LifecycleRule]] = {
        "prompts": _lifecycle(),
        "outputs": _lifecycle(),
        "transcripts": _lifecycle(foundation.transcript_days),
        "rollout_logs": _lifecycle(foundation.rollout_log_days, LOG_NONCURRENT_DAYS),
    }
    wanted = {noun: found for noun, found in rules.items() if not getattr(foundation.buckets, noun)}
    if not wanted:
        return
    log_bucket = _access_logs(scope, settings)
    for noun, found in wanted.items():
        _bucket(scope, noun, settings, key, log_bucket, found)


def _lifecycle(days: int | None = None, noncurrent_days: int = NONCURRENT_DAYS) -> list[s3.LifecycleRule]:
    """Objects expire after `days`; but in a versioned bucket that hides them, and they are gone later."""
    return [
        s3.LifecycleRule(
            id="expire",
            abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
            noncurrent_version_expiration=cdk.Duration.days(noncurrent_days),
            expiration=cdk.Duration.days(days) if days else None,
        ),
        # What hid an object that is gone. A rule that expires by age cannot say this too.
        s3.LifecycleRule(id="markers", expired_object_delete_marker=True),
    ]


def _bucket(
    scope: Construct,
    noun: Noun,
    settings: Deployment,
    key: kms.IKey,
    log_bucket: s3.IBucket,
    lifecycle: list[s3.LifecycleRule],
) -> None:
    bucket = s3.Bucket(
        scope,
        noun.title().replace("_", ""),
        bucket_name=Names(settings).bucket(noun),
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        server_access_logs_bucket=log_bucket,
        server_access_logs_prefix=f"{noun}/",
        lifecycle_rules=lifecycle,
        removal_policy=removal(settings),
    )
    acknowledge_in(bucket, NO_REPLICA, "S3BucketReplicationEnabled", (NIST, HIPAA, PCI))


def _access_logs(scope: Construct, settings: Deployment) -> s3.IBucket:
    if settings.foundation.buckets.access_logs is not None:
        return s3.Bucket.from_bucket_name(scope, "AccessLogs", settings.foundation.buckets.access_logs)
    bucket = s3.Bucket(
        scope,
        "AccessLogs",
        bucket_name=Names(settings).bucket("access_logs"),
        encryption=s3.BucketEncryption.S3_MANAGED,  # S3 delivers access logs to no bucket with a KMS key
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        lifecycle_rules=_lifecycle(ACCESS_LOG_DAYS),
        removal_policy=removal(settings),
    )

    acknowledge_in(bucket, NO_REPLICA, "S3BucketReplicationEnabled", (NIST, HIPAA, PCI))
    acknowledge_in(
        bucket,
        "S3 delivers server access logs to no bucket whose default is a KMS key; SSE-S3 encrypts it.",
        "S3DefaultEncryptionKMS",
        (NIST, HIPAA, PCI),
    )
    return bucket

"""A log group of ours: named, with retention and key."""

from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.removal import removal
from infra.settings import LOG_RETENTION_DAYS, Deployment

RETENTION = dict(zip(LOG_RETENTION_DAYS, logs.RetentionDays, strict=False))
"""The library's constants are in the order of the days, and end with one for ever."""


def log_group(scope: Construct, id_: str, *, name: str, settings: Deployment, key: kms.IKey) -> logs.LogGroup:
    """A log group that is gone with its stack, unless the environment is protected."""
    return logs.LogGroup(
        scope,
        id_,
        log_group_name=name,
        retention=RETENTION[settings.observability.log_retention_days],
        encryption_key=key,
        removal_policy=removal(settings),
    )

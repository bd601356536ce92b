"""The forwarder answers in milliseconds; the queue holds what the workers have not taken yet."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.function import function
from infra.names import Names
from infra.policy.acknowledgments import SERVERLESS, acknowledge
from infra.policy.statements import allow, key_use, send
from infra.policy.worker import CLAIM_CHECKS
from infra.settings import Deployment

VISIBILITY_SECONDS = 120
"""As the worker asks for on each receive; it renews while it works."""


class Intake(Construct):
    """Forwarder, queue and dead-letter queue."""

    def __init__(self, scope: Construct, *, settings: Deployment, key: kms.IKey, root: Path) -> None:
        super().__init__(scope, "Intake")
        names = Names(settings)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=names.dead_letters,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        self.queue = sqs.Queue(
            self,
            "Rollouts",
            queue_name=names.queue,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=cdk.Duration.seconds(settings.message_retention_seconds),
            visibility_timeout=cdk.Duration.seconds(VISIBILITY_SECONDS),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters, max_receive_count=settings.intake.max_receive_count
            ),
        )
        acknowledge(
            self.dead_letters, "It is the dead-letter queue of the other.", (SERVERLESS, "SQSRedrivePolicy")
        )
        self.forwarder = self._forwarder(settings, key, root)

    def _forwarder(self, settings: Deployment, key: kms.IKey, root: Path) -> lambda_.Function:
        names = Names(settings)
        claim_checks = f"{names.bucket_arn('rollout_logs')}/{CLAIM_CHECKS}*"
        return function(
            self,
            "forwarder",
            settings=settings,
            key=key,
            code=root / "lambda/forwarder",
            description="Takes a rollout request from the service and puts it on the queue",
            memory_mb=settings.intake.memory_mb,
            timeout_seconds=settings.intake.timeout_seconds,
            reserved_concurrency=settings.intake.reserved_concurrency,
            environment={
                "MTRL_QUEUE_URL": self.queue.queue_url,
                "MTRL_CLAIM_CHECK_BUCKET": names.bucket("rollout_logs"),
                "MTRL_CLAIM_CHECK_PREFIX": CLAIM_CHECKS,
                "MTRL_JOB_NAME_PREFIX": settings.job_prefix,
                "MTRL_ACCOUNT_ID": settings.account,
            },
            statements=[
                send("Enqueue", names, names.queue),
                allow("ClaimChecks", ["s3:PutObject"], [claim_checks]),
                key_use("Encrypt", key.key_arn, names, ["sqs", "s3"], ["GenerateDataKey", "Decrypt"]),
            ],
            wildcards={claim_checks: "One claim check a large request, and nothing outside of their prefix."},
        )

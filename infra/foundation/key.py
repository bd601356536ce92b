"""The one key of a deployment, and who may use it.

Roles of the account use it through their own policies (the first statement delegates to IAM). Service
principals have no policy of their own: what is not named here works on emulators, and fails on AWS.
"""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.removal import removal
from infra.settings import Deployment


def key(scope: Construct, settings: Deployment) -> kms.IKey:
    """The adopted key, or a new symmetric one that rotates."""
    if settings.foundation.key_arn is not None:
        return kms.Key.from_key_arn(scope, "Key", settings.foundation.key_arn)
    return kms.Key(
        scope,
        "Key",
        alias=f"alias/{settings.name}",
        description=f"Everything that {settings.name} keeps",
        enable_key_rotation=True,
        multi_region=False,  # the service takes no multi-Region key
        removal_policy=removal(settings),
        policy=iam.PolicyDocument(statements=key_policy(cdk.Stack.of(scope).partition, settings)),
    )


def key_policy(partition: str, settings: Deployment) -> list[iam.PolicyStatement]:
    """The statements that an adopted key needs as well (docs/security.md)."""
    account, region = settings.account, settings.region
    log_groups = f"arn:{partition}:logs:{region}:{account}:log-group:*"
    return [
        iam.PolicyStatement(
            sid="AccountDelegatesToIam",
            principals=[iam.AccountPrincipal(account)],
            actions=["kms:*"],
            resources=["*"],  # in a key policy, this key
        ),
        iam.PolicyStatement(
            sid="LogGroups",
            principals=[iam.ServicePrincipal(f"logs.{region}.amazonaws.com")],
            actions=[
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncrypt*",
                "kms:GenerateDataKey*",
                "kms:DescribeKey",
            ],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
        ),
        # To the topic, which is encrypted; whoever else publishes there has a role.
        iam.PolicyStatement(
            sid="Alarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": account}},
        ),
    ]

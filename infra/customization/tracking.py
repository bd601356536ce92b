"""The MLflow app that jobs write their metrics and traces to."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.customization.documents import MLFLOW_PREFIX
from infra.names import Names
from infra.policy.roles import role
from infra.policy.statements import allow, key_use, objects
from infra.removal import removal
from infra.settings import Deployment


def mlflow_app(scope: Construct, settings: Deployment, key: kms.IKey) -> str:
    """The ARN of the adopted app, or of a new one that keeps its artifacts in the outputs bucket."""
    if settings.customization.mlflow_app_arn is not None:
        return settings.customization.mlflow_app_arn
    app = sagemaker.CfnMlflowApp(
        scope,
        "Mlflow",
        name=f"{settings.name}-mlflow",
        artifact_store_uri=f"s3://{Names(settings).bucket('outputs')}/{MLFLOW_PREFIX}",
        role_arn=_role(scope, settings, key).role_arn,
        # Jobs publish model packages themselves, into groups of their own.
        model_registration_mode="AutoModelRegistrationDisabled",
    )
    app.apply_removal_policy(removal(settings))
    return app.attr_arn


def _role(scope: Construct, settings: Deployment, key: kms.IKey) -> iam.Role:
    names = Names(settings)
    prefix = f"{MLFLOW_PREFIX}/"
    return role(
        scope,
        "MlflowRole",
        trusted=iam.ServicePrincipal(
            "sagemaker.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": settings.account}}
        ),
        description=f"What the MLflow app of {settings.name} may do",
        statements=[
            objects("Artifacts", ["GetObject", "PutObject"], names, "outputs", prefix),
            allow(
                "ListArtifacts",
                ["s3:ListBucket"],
                [names.bucket_arn("outputs")],
                StringLike={"s3:prefix": [MLFLOW_PREFIX, f"{prefix}*"]},
            ),
            key_use("Key", key.key_arn, names, ["s3"], ["Decrypt", "GenerateDataKey"]),
        ],
        wildcards={f"{names.bucket_arn('outputs')}/{prefix}*": "The artifacts of runs, below one prefix."},
    )

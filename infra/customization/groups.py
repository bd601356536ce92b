"""Where model packages go: a group for trained models, another one for checkpoints."""

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.function import function
from infra.names import Names
from infra.policy.statements import allow
from infra.removal import removal
from infra.settings import Deployment

TYPE = "Custom::MtrlRestrictedModelPackageGroup"
MANAGE = (
    "CreateModelPackageGroup",
    "DescribeModelPackageGroup",
    "DeleteModelPackageGroup",
    "ListModelPackages",
    "ListTags",
    "AddTags",
    "DeleteTags",
)


@dataclass(frozen=True, slots=True)
class Groups:
    """The ARNs of both; the service refuses one group for the two purposes."""

    output: str
    intermediate: str


def groups(scope: Construct, settings: Deployment, key: kms.IKey, root: Path) -> Groups:
    """Adopt or create both; of the managed kind `Restricted`, if the base model asks for that."""
    custom = settings.customization
    wanted = {
        "models": ("trained models", custom.output_group_arn),
        "checkpoints": ("states to resume training from", custom.intermediate_group_arn),
    }
    missing = {noun: what for noun, (what, adopted) in wanted.items() if adopted is None}
    if custom.restricted_models and missing:
        provider = _provider(scope, settings, key, root, list(missing))
        for noun, what in missing.items():
            _restricted(scope, settings, provider, noun, what)
    else:
        for noun, what in missing.items():
            _plain(scope, settings, noun, what)
    arns = {noun: adopted or _arn(settings, noun) for noun, (_, adopted) in wanted.items()}
    return Groups(output=arns["models"], intermediate=arns["checkpoints"])


def _name(settings: Deployment, noun: str) -> str:
    return f"{settings.name}-{noun}"


def _arn(settings: Deployment, noun: str) -> str:
    return Names(settings).arn("sagemaker", f"model-package-group/{_name(settings, noun)}")


def _plain(scope: Construct, settings: Deployment, noun: str, what: str) -> None:
    group = sagemaker.CfnModelPackageGroup(
        scope,
        noun.title(),
        model_package_group_name=_name(settings, noun),
        model_package_group_description=f"{settings.name}: {what}",
    )
    group.apply_removal_policy(removal(settings))


def _restricted(
    scope: Construct, settings: Deployment, provider: lambda_.IFunction, noun: str, what: str
) -> None:
    """CloudFormation's own type cannot say `ManagedConfiguration`."""
    cdk.CustomResource(
        scope,
        noun.title(),
        resource_type=TYPE,
        service_token=provider.function_arn,
        properties={
            "Name": _name(settings, noun),
            "Description": f"{settings.name}: {what}",
            "Tags": [{"Key": "mtrl-kit:deployment", "Value": settings.name}]
            + [{"Key": name, "Value": value} for name, value in settings.tags.items()],
            "Retain": str(settings.protect).lower(),
        },
    )


def _provider(
    scope: Construct, settings: Deployment, key: kms.IKey, root: Path, nouns: list[str]
) -> lambda_.Function:
    return function(
        scope,
        "model-package-groups",
        settings=settings,
        key=key,
        code=root / "lambda/service_resources",
        handler="model_package_groups.handler",
        description="Creates model package groups of the managed kind Restricted",
        timeout_seconds=120,
        environment={},
        statements=[
            allow(
                "Groups",
                [f"sagemaker:{action}" for action in MANAGE],
                [_arn(settings, noun) for noun in nouns],
            )
        ],
    )

"""The container image of an adapter: built from the checkout, or adopted; and who may pull it."""

import re
from dataclasses import dataclass
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.policy.statements import allow
from infra.targets.contract import Site

ECR = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com[a-z.]*/(?P<name>[^:@]+)"
)
BOOTSTRAP_QUALIFIER = "hnb659fds"


@dataclass(frozen=True, slots=True)
class Image:
    uri: str
    repository_arn: str | None
    """None: not in ECR, so nothing of IAM is needed to pull it."""


def image(scope: Construct, site: Site, *, command: Literal["queue", "http"]) -> Image:
    """The adopted image, or an asset that `cdk deploy` builds for arm64; `command` is what it starts."""
    adapter = site.settings.adapter
    if adapter.image_uri is not None:
        return Image(adapter.image_uri, _repository(adapter.image_uri, site))
    asset = assets.DockerImageAsset(
        scope,
        "Image",
        directory=str(site.staged("container")),
        platform=assets.Platform.LINUX_ARM64,
        target=command,
        build_args={"BASE_IMAGE": adapter.base_image} if adapter.base_image else None,
        build_secrets=_secrets(site),
        asset_name=f"{site.settings.name}-adapter",
    )
    qualifier = site.settings.bootstrap_qualifier or BOOTSTRAP_QUALIFIER
    name = f"cdk-{qualifier}-container-assets-{site.settings.account}-{site.settings.region}"
    return Image(asset.image_uri, site.names.arn("ecr", f"repository/{name}"))


def _secrets(site: Site) -> dict[str, str] | None:
    """Credentials of a private index: seen by one command of the build, and in no layer of the image."""
    path = site.settings.adapter.pip_conf
    return {"pip_conf": cdk.DockerBuildSecret.from_src(str(site.root / path))} if path else None


def pull_statements(found: Image) -> list[iam.PolicyStatement]:
    """What pulls the image needs."""
    if found.repository_arn is None:
        return []
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    return [
        allow("Pull", actions, [found.repository_arn]),
        allow("RegistryToken", ["ecr:GetAuthorizationToken"], ["*"]),
    ]


PULL_WILDCARDS = {
    "*": "ecr:GetAuthorizationToken names no resource; the other statement bounds what is pulled."
}


def _repository(uri: str, site: Site) -> str | None:
    found = ECR.match(uri)
    if found is None:
        return None
    return f"arn:{site.names.partition}:ecr:{found['region']}:{found['account']}:repository/{found['name']}"

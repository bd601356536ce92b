"""What a target gets, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.names import Names
from infra.network import Network
from infra.packaging.stage import Form, Package, stage
from infra.settings import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every target is built on."""

    settings: Deployment
    key: kms.IKey
    network: Network
    root: Path
    """The checkout: targets read `adapters/` below it by path."""

    @property
    def names(self) -> Names:
        return Names(self.settings)

    def staged(self, target: Form) -> Path:
        """The folder that is shipped: the adapter, its environment, and nothing else."""
        adapter = self.settings.adapter
        package = Package(
            target=target,
            environment=adapter.environment,
            environment_path=self.root / adapter.path if adapter.path else None,
        )
        return stage(package, root=self.root, out=self.root / "out/packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Whom the service invokes: exactly one of the two."""

    forwarder_arn: str | None = None
    runtime_arn: str | None = None
    endpoint: str | None = None
    """The endpoint (qualifier) of the runtime that jobs pin."""


Place = Callable[[Construct, Site], Agent]
"""Builds the target's resources in a stack of its own."""

"""Wiring: which stacks a deployment has, and what each gets. The only module that sees all rooms."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from infra.foundation import Foundation
from infra.intake import Intake
from infra.settings import Deployment


def build(app: Construct, settings: Deployment, root: Path) -> None:
    """Add the stacks of one deployment to an app."""
    foundation_stack = stack(app, settings, "foundation")
    foundation = Foundation(foundation_stack, settings=settings)
    if settings.queued:
        intake_stack = stack(app, settings, "intake")
        Intake(intake_stack, settings=settings, key=foundation.key, root=root)
        intake_stack.add_stack_dependency(foundation_stack)


def stack(app: Construct, settings: Deployment, noun: str) -> cdk.Stack:
    """`<name>-<noun>`, in the deployment's account and Region."""
    qualifier = settings.bootstrap_qualifier
    return cdk.Stack(
        app,
        f"{settings.name}-{noun}",
        env=cdk.Environment(account=settings.account, region=settings.region),
        tags={"mtrl-kit:deployment": settings.name, **settings.tags},
        termination_protection=settings.protect,
        synthesizer=cdk.DefaultStackSynthesizer(qualifier=qualifier) if qualifier else None,
        permissions_boundary=_boundary(settings),
    )


def _boundary(settings: Deployment) -> cdk.PermissionsBoundary | None:
    name = settings.permissions_boundary
    return cdk.PermissionsBoundary.from_name(name) if name else None

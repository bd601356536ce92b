"""Wiring: which stacks a deployment has, and what each gets. The only module that sees all rooms.

`App` is here for app.py: to import aws_cdk before infra is to start the machine's own Node.
"""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import App as App
from constructs import Construct

from infra.customization import Customization
from infra.foundation import Foundation
from infra.intake import Intake
from infra.network import Network
from infra.observability import Observability
from infra.settings import Deployment
from infra.targets.contract import Site
from infra.targets.factory import place


def build(app: Construct, settings: Deployment, root: Path) -> None:
    """Add the stacks of one deployment to an app."""
    foundation_stack = stack(app, settings, "foundation")
    foundation = Foundation(foundation_stack, settings=settings)
    network_stack = stack(app, settings, "network")
    network = Network(network_stack, settings=settings, key=foundation.key)
    network_stack.add_stack_dependency(foundation_stack)
    if settings.queued:
        intake_stack = stack(app, settings, "intake")
        Intake(intake_stack, settings=settings, key=foundation.key, root=root)
        intake_stack.add_stack_dependency(foundation_stack)
    # It names what it watches: it needs neither network nor adapter, and stands before they do.
    observability_stack = stack(app, settings, "observability")
    Observability(observability_stack, settings=settings, key=foundation.key, root=root)
    observability_stack.add_stack_dependency(intake_stack if settings.queued else foundation_stack)
    # The target's name is in the stack's: two can serve one queue while a team moves from one to the other.
    adapter_stack = stack(app, settings, f"adapter-{settings.target.kind}")
    agent = place(adapter_stack, Site(settings=settings, key=foundation.key, network=network, root=root))
    adapter_stack.add_stack_dependency(network_stack)
    customization_stack = stack(app, settings, "customization")
    Customization(
        customization_stack, settings=settings, key=foundation.key, agent=agent, network=network, root=root
    )
    customization_stack.add_stack_dependency(adapter_stack)


def stack(app: Construct, settings: Deployment, noun: str) -> cdk.Stack:
    """`<name>-<noun>`, in the deployment's account and Region."""
    qualifier = settings.bootstrap_qualifier
    made = cdk.Stack(
        app,
        f"{settings.name}-{noun}",
        env=cdk.Environment(account=settings.account, region=settings.region),
        tags={"mtrl-kit:deployment": settings.name, **settings.tags},
        termination_protection=settings.protect,
        synthesizer=cdk.DefaultStackSynthesizer(qualifier=qualifier) if qualifier else None,
        permissions_boundary=_boundary(settings),
    )
    # What a VPC asks of its stack, and the stack would ask of AWS.
    place = f"account={settings.account}:region={settings.region}"
    made.node.set_context(f"availability-zones:{place}", list(settings.zones))
    return made


def _boundary(settings: Deployment) -> cdk.PermissionsBoundary | None:
    name = settings.permissions_boundary
    return cdk.PermissionsBoundary.from_name(name) if name else None

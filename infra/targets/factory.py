"""The one door to the targets. A target's module, and what it imports, load when it is chosen."""

from typing import assert_never

from constructs import Construct

from infra.target_settings import AgentCore, Ec2, Eks, Fargate
from infra.targets.contract import Agent, Site


def place(scope: Construct, site: Site) -> Agent:
    """Build the chosen target in `scope`, and say whom the service invokes."""
    target = site.settings.target
    if isinstance(target, Fargate):
        from infra.targets import fargate

        return fargate.place(scope, site, target)
    if isinstance(target, AgentCore):
        from infra.targets import agentcore

        return agentcore.place(scope, site, target)
    if isinstance(target, Ec2):
        from infra.targets import ec2

        return ec2.place(scope, site, target)
    if isinstance(target, Eks):
        from infra.targets import eks

        return eks.place(scope, site, target)
    assert_never(target)

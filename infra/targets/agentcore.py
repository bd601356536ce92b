"""Bedrock AgentCore: a runtime that the service itself invokes, with one endpoint a version.

A deployment makes a new version and touches no endpoint: each endpoint is named after the version it serves,
so that a job goes on with the code it was started with.
"""

import aws_cdk as cdk
from aws_cdk import aws_bedrockagentcore as agentcore
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.names import Names
from infra.policy.adapter import adapter_statements, adapter_wildcards
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.target_settings import AgentCore
from infra.targets.contract import Agent, Site
from infra.targets.image import PULL_WILDCARDS, image, pull_statements
from infra.targets.variables import common

PYTHON = agentcore.AgentCoreRuntime.PYTHON_3_12
"""The version that `make vendor` unpacks packages for."""


def place(scope: Construct, site: Site, target: AgentCore) -> Agent:
    """Runtime, and an endpoint for each listed version."""
    artifact, pull = _artifact(scope, site, target)
    runtime = agentcore.Runtime(
        scope,
        "Runtime",
        runtime_name=site.names.runtime,
        description=f"The adapter of {site.settings.name}",
        agent_runtime_artifact=artifact,
        execution_role=_execution_role(scope, site, target, pull),
        environment_variables={**common(site.settings), "PORT": "8080"},
        network_configuration=_network(scope, site, target),
        lifecycle_configuration=agentcore.LifecycleConfiguration(
            idle_runtime_session_timeout=cdk.Duration.minutes(target.idle_minutes),
            max_lifetime=cdk.Duration.minutes(target.max_lifetime_minutes),
        ),
        tracing_enabled=target.tracing,
    )
    for version in target.versions:
        agentcore.RuntimeEndpoint(
            scope,
            f"V{version}",
            agent_runtime_id=runtime.agent_runtime_id,
            agent_runtime_version=str(version),
            endpoint_name=f"v{version}",
            description=f"Version {version}, and no other",
        ).node.add_dependency(runtime)
    return Agent(runtime_arn=runtime.agent_runtime_arn, endpoint=f"v{max(target.versions)}")


def _artifact(
    scope: Construct, site: Site, target: AgentCore
) -> tuple[agentcore.AgentRuntimeArtifact, list[iam.PolicyStatement]]:
    if target.artifact == "container":
        found = image(scope, site, command="http")
        return agentcore.AgentRuntimeArtifact.from_image_uri(found.uri), pull_statements(found)
    code = agentcore.AgentRuntimeArtifact.from_code_asset(
        path=str(site.staged("agentcore")), runtime=PYTHON, entrypoint=["main.py"]
    )
    return code, []


def _network(scope: Construct, site: Site, target: AgentCore) -> agentcore.RuntimeNetworkConfiguration:
    if target.network_mode == "public":
        return agentcore.RuntimeNetworkConfiguration.using_public_network()
    return agentcore.RuntimeNetworkConfiguration.using_vpc(
        scope,
        vpc=site.network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnets=site.network.subnets),
        security_groups=[site.network.adapter_group],
    )


def _execution_role(
    scope: Construct, site: Site, target: AgentCore, pull: list[iam.PolicyStatement]
) -> iam.IRole:
    names = site.names
    group = names.arn("logs", f"log-group:{names.runtime_log_groups}*")
    return role(
        scope,
        "RuntimeRole",
        trusted=iam.ServicePrincipal(
            "bedrock-agentcore.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": site.settings.account},
                "ArnLike": {"aws:SourceArn": names.arn("bedrock-agentcore", f"runtime/{names.runtime}-*")},
            },
        ),
        description=f"What the adapter of {site.settings.name} may do",
        statements=[
            *adapter_statements(names, site.key.key_arn),
            *pull,
            allow(
                "Logs",
                [
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "logs:DescribeLogStreams",
                ],
                [group, f"{group}:log-stream:*"],
            ),
            *_tracing(target),
        ],
        wildcards=_wildcards(names, group, pull),
    ).without_policy_updates()


def _tracing(target: AgentCore) -> list[iam.PolicyStatement]:
    if not target.tracing:
        return []
    return [allow("Traces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"])]


def _wildcards(names: Names, group: str, pull: list[iam.PolicyStatement]) -> dict[str, str]:
    own = "AgentCore ends the group's name with an id that it makes up; the runtime's name bounds it."
    common = adapter_wildcards(names)
    anything = f"{common['*']} X-Ray's writing actions name no resource."
    return {
        **common,
        group: own,
        f"{group}:log-stream:*": own,
        "*": f"{anything} {PULL_WILDCARDS['*']}" if pull else anything,
    }

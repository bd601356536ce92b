"""The endpoints of a created VPC: those that adapter and job call, and no other.

S3 and DynamoDB have gateways, which cost nothing. The rest are interfaces, which bill by the hour and zone.
"""

from collections.abc import Sequence
from typing import assert_never

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.names import Names
from infra.seal_keys import secret_arn
from infra.settings import Deployment
from infra.target_settings import AgentCore, Ec2, Eks, Fargate

PULL = ("ecr.api", "ecr.dkr")
MLFLOW = "mlflow"
PREFIXES = {MLFLOW: "aws.sagemaker"}
"""Services whose endpoint's name does not begin with `com.amazonaws`."""
NO_POLICY = ("eks", "eks-auth")
"""Not known to take an endpoint policy; one that is refused fails the deployment."""
AL2023_REPOSITORIES = "al2023-repos-{region}-de612dc2"
ECR_LAYERS = "prod-{region}-starport-layer-bucket"


def endpoints(
    scope: Construct,
    settings: Deployment,
    vpc: ec2.IVpc,
    subnets: Sequence[ec2.ISubnet],
    callers: Sequence[ec2.ISecurityGroup],
) -> None:
    """Gateways for the private subnets, and the interfaces that only `callers` reach."""
    within = ec2.SubnetSelection(subnets=list(subnets))
    _gateways(vpc, settings, within)
    services = interface_services(settings) if settings.network.interface_endpoints else []
    if services:
        group = _group(scope, settings, vpc, callers)
        for service in services:
            _interface(vpc, settings, service, within, group)


def interface_services(settings: Deployment) -> list[str]:
    """The services by the last part of their endpoint's name. KMS is called for wrapped seal keys alone."""
    services = {"logs", *_of_adapter(settings), *_of_seal_keys(settings)}
    if settings.customization.job_in_vpc:
        services |= {"lambda" if settings.queued else "bedrock-agentcore", MLFLOW}
    return sorted(services)


def _of_adapter(settings: Deployment) -> tuple[str, ...]:
    target = settings.target
    match target:
        case Fargate():
            return ("sqs", *PULL)
        case Eks():
            # eks, eks-auth: Auto Mode's nodes and Pod Identity; ec2: the Pods' network interfaces.
            return ("sqs", *PULL, "ec2", "eks", "eks-auth")
        case Ec2():
            # autoscaling: the drain's lifecycle hook; ssm, ssmmessages: the agent, which needs no third
            # endpoint since its version 3.3.40. Metrics are log lines: nothing calls `monitoring`.
            return ("sqs", "autoscaling", "ssm", "ssmmessages")
        case AgentCore():
            return PULL if target.network_mode == "vpc" and target.artifact == "container" else ()
        case _:
            assert_never(target)


def _of_seal_keys(settings: Deployment) -> tuple[str, ...]:
    """Read once at the start of a worker: where there is a way out by IPv4, that will do."""
    place, target = settings.adapter.seal_keys, settings.target
    outside = isinstance(target, AgentCore) and target.network_mode != "vpc"
    if place is None or outside or settings.network.egress == "nat":
        return ()
    return ("secretsmanager",) if secret_arn(place) is not None else ("kms",)


def _group(
    scope: Construct, settings: Deployment, vpc: ec2.IVpc, callers: Sequence[ec2.ISecurityGroup]
) -> ec2.SecurityGroup:
    group = ec2.SecurityGroup(
        scope,
        "Endpoints",
        vpc=vpc,
        description=f"{settings.name}: interface endpoints; 443 in from adapters and jobs",
        allow_all_outbound=False,
    )
    for caller in callers:
        group.add_ingress_rule(caller, ec2.Port.tcp(443), "AWS APIs")
    return group


def _interface(
    vpc: ec2.IVpc,
    settings: Deployment,
    service: str,
    within: ec2.SubnetSelection,
    group: ec2.ISecurityGroup,
) -> None:
    endpoint = vpc.add_interface_endpoint(
        service,
        service=ec2.InterfaceVpcEndpointAwsService(service, PREFIXES.get(service)),
        private_dns_enabled=True,
        open=False,
        security_groups=[group],
        subnets=within,
    )
    if service not in NO_POLICY:
        endpoint.add_to_policy(_own_principals(settings))


def _gateways(vpc: ec2.IVpc, settings: Deployment, within: ec2.SubnetSelection) -> None:
    ledger = vpc.add_gateway_endpoint(
        "dynamodb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB, subnets=[within]
    )
    ledger.add_to_policy(_own_principals(settings))
    objects = vpc.add_gateway_endpoint("s3", service=ec2.GatewayVpcEndpointAwsService.S3, subnets=[within])
    objects.add_to_policy(_own_principals(settings))
    objects.add_to_policy(
        iam.PolicyStatement(
            sid="WhatAwsServes",
            principals=[iam.AnyPrincipal()],
            actions=["s3:GetObject"],
            resources=_served_by_aws(settings),
        )
    )


def _own_principals(settings: Deployment) -> iam.PolicyStatement:
    """No credentials but the account's: those that someone brings along are of no use in the VPC.

    What the account's own may do is said by their roles, by resource.
    """
    return iam.PolicyStatement(
        sid="OwnPrincipals",
        principals=[iam.AnyPrincipal()],
        actions=["*"],
        resources=["*"],
        conditions={"StringEquals": {"aws:PrincipalAccount": settings.account}},
    )


def _served_by_aws(settings: Deployment) -> list[str]:
    """Buckets of AWS that are read without credentials of the account.

    The route to S3 leads through the gateway whatever the egress: what is missing here cannot be read at all.
    So it is the same for all queue targets: while a team moves between two, both are served by one gateway.
    """
    # AgentCore fetches image or code at a session's start, from buckets of its own that it does not name.
    names = [AL2023_REPOSITORIES, ECR_LAYERS] if settings.queued else ["*"]
    partition = Names(settings).partition
    return [f"arn:{partition}:s3:::{name.format(region=settings.region)}/*" for name in names]

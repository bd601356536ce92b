"""Who talked to whom: the flow logs of a created VPC."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.log_group import log_group
from infra.names import Names
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.settings import Deployment


def flow_logs(scope: Construct, settings: Deployment, key: kms.IKey, vpc: ec2.IVpc) -> ec2.FlowLog:
    """All traffic, accepted and rejected, in a log group of ours."""
    names = Names(settings)
    name = f"/mtrl/{settings.name}/network"
    group = log_group(scope, "FlowLogGroup", name=name, settings=settings, key=key)
    streams = names.arn("logs", f"log-group:{name}:*")
    writer = role(
        scope,
        "FlowLogRole",
        trusted=iam.ServicePrincipal(
            "vpc-flow-logs.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": settings.account},
                "ArnLike": {"aws:SourceArn": names.arn("ec2", "vpc-flow-log/*")},
            },
        ),
        description=f"Writes the flow logs of {settings.name}",
        statements=[
            # The group exists already: it need not be created.
            allow(
                "Write", ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], [streams]
            ),
        ],
        wildcards={streams: "One stream a network interface, in the flow logs' own group."},
    )
    return ec2.FlowLog(
        scope,
        "FlowLog",
        resource_type=ec2.FlowLogResourceType.from_vpc(vpc),
        # What CDK would add to the role is in its policy already, but for iam:PassRole on itself.
        destination=ec2.FlowLogDestination.to_cloud_watch_logs(group, writer.without_policy_updates()),
        traffic_type=ec2.FlowLogTrafficType.ALL,
    )

"""The VPC itself: private subnets, and a way out that nothing can come in by."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.policy.acknowledgments import HIPAA, NIST, PCI, acknowledge_in
from infra.settings import Deployment

PRIVATE = ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
PUBLIC_MASK = 28
"""The smallest subnet there is: the public ones hold NAT gateways, and nothing else."""
DEFAULT_GROUP = (
    "Nothing is in the default security group: every network interface is given a group of ours by id. Left "
    "as AWS makes it, it lets its own members in, of whom there are none; closing it takes a custom resource "
    "whose function may edit security groups."
)
WAY_OUT = (
    "The route of the public subnets, which hold NAT gateways alone; no workload is in them, and a NAT "
    "gateway takes no connection from outside."
)
IPV6_ADDRESS = (
    "The address is IPv6, for the way out through the egress-only internet gateway, which is stateful and "
    "lets no connection in; there is no internet gateway."
)
ZONES_ARE_SETTINGS = {"config": {"ignore_checks": ["W3010"]}}
"""For cfn-lint: zones are named, because synthesis asks AWS nothing and endpoints bill by them."""
NO_ROUTE_TABLE = "Nothing is routed in an adopted VPC: its routes are its owner's."


def created(scope: Construct, settings: Deployment) -> ec2.Vpc:
    """A VPC with a private subnet a zone, and the egress of the settings."""
    network = settings.network
    nat = network.egress == "nat"
    public = ec2.SubnetConfiguration(
        name="nat",
        subnet_type=ec2.SubnetType.PUBLIC,
        cidr_mask=PUBLIC_MASK,
        map_public_ip_on_launch=False,
    )
    vpc = ec2.Vpc(
        scope,
        "Vpc",
        vpc_name=settings.name,
        ip_addresses=ec2.IpAddresses.cidr(network.cidr),
        availability_zones=list(dict.fromkeys(settings.zones)),
        ip_protocol=ec2.IpProtocol.IPV4_ONLY if nat else ec2.IpProtocol.DUAL_STACK,
        subnet_configuration=[PRIVATE, public] if nat else [PRIVATE],
        nat_gateways=network.nat_gateways if nat else 0,
        create_internet_gateway=nat,
        restrict_default_security_group=False,
    )
    _explain(vpc, nat)
    return vpc


def _explain(vpc: ec2.Vpc, nat: bool) -> None:
    packs = (NIST, HIPAA, PCI)
    acknowledge_in(vpc, DEFAULT_GROUP, "VPCDefaultSecurityGroupClosed", packs)
    for subnet in vpc.public_subnets:
        acknowledge_in(subnet, WAY_OUT, "VPCNoUnrestrictedRouteToIGW", packs)
    for subnet in [*vpc.private_subnets, *vpc.public_subnets]:
        if not nat:
            acknowledge_in(subnet, IPV6_ADDRESS, "VPCSubnetAutoAssignPublicIpDisabled", packs)
        resource = subnet.node.default_child
        if isinstance(resource, cdk.CfnResource):
            resource.add_metadata("cfn-lint", ZONES_ARE_SETTINGS)


def adopted(scope: Construct, settings: Deployment) -> ec2.IVpc:
    """The VPC of the settings, as they describe it: AWS is not asked."""
    network = settings.network
    vpc = ec2.Vpc.from_vpc_attributes(
        scope,
        "Vpc",
        vpc_id=str(network.vpc_id),
        availability_zones=list(network.availability_zones),
        private_subnet_ids=list(network.private_subnet_ids),
        region=settings.region,
    )
    for subnet in vpc.private_subnets:
        cdk.Annotations.of(subnet).acknowledge_warning(
            "@aws-cdk/aws-ec2:noSubnetRouteTableId", NO_ROUTE_TABLE
        )
    return vpc

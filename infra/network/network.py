"""Assembles the network: a VPC, where workloads live in it, and the groups that name them.

The law: nothing can be connected to. The one inbound rule of the room is 443 on the interface endpoints, from
the groups made here.
"""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.network.endpoints import endpoints
from infra.network.flow_logs import flow_logs
from infra.network.vpc import adopted, created
from infra.settings import Deployment

HTTPS = ec2.Port.tcp(443)


class Network(Construct):
    """VPC, private subnets in two zones or more, and the security groups of adapter and job."""

    vpc: ec2.IVpc
    subnets: list[ec2.ISubnet]
    """Private ones, of two zones or more."""
    adapter_group: ec2.ISecurityGroup
    """Of whatever runs the adapter: it gets nothing in, and 443 out."""
    job_group: ec2.ISecurityGroup
    """Of the job's own network interfaces. It is there whether or not they are: a group costs nothing."""

    def __init__(self, scope: Construct, *, settings: Deployment, key: kms.IKey) -> None:
        super().__init__(scope, "Network")
        adopting = settings.network.vpc_id is not None
        self.vpc = adopted(self, settings) if adopting else created(self, settings)
        self.subnets = list(self.vpc.private_subnets)
        self.adapter_group = self._adapter_group(settings)
        self.job_group = self._job_group(settings)
        self._export(settings)
        if not adopting:
            callers = [self.adapter_group, *([self.job_group] if settings.customization.job_in_vpc else [])]
            endpoints(self, settings, self.vpc, self.subnets, callers)
            flow_logs(self, settings, key, self.vpc)

    def _export(self, settings: Deployment) -> None:
        """For good, whoever imports it just now: this stack is deployed before those that may do without.

        An export that goes while it is still imported fails the deployment. Of an adopted VPC the subnets are
        known by name.
        """
        subnets = [] if settings.network.vpc_id is not None else self.subnets
        for id_ in (
            self.adapter_group.security_group_id,
            self.job_group.security_group_id,
            *(subnet.subnet_id for subnet in subnets),
        ):
            cdk.Stack.of(self).export_value(id_)

    def _adapter_group(self, settings: Deployment) -> ec2.SecurityGroup:
        """DNS needs no rule: security groups do not filter the way to the VPC's own resolver."""
        group = _group(self, "Adapter", self.vpc, f"{settings.name}: adapters; nothing in, 443 out")
        # The Job Runtime publishes no addresses of its own, and tools call AWS APIs by name.
        for peer in _anywhere(settings):
            group.add_egress_rule(peer, HTTPS, "Job Runtime and AWS APIs")
        return group

    def _job_group(self, settings: Deployment) -> ec2.SecurityGroup:
        """As the service asks for: 443, and UDP 53 to a resolver."""
        group = _group(self, "Job", self.vpc, f"{settings.name}: jobs; nothing in, 443 and DNS out")
        for peer in _anywhere(settings):
            group.add_egress_rule(peer, HTTPS, "S3, logs, MLflow, and the agent")
        created_here = settings.network.vpc_id is None
        # The range of an adopted VPC is not known here, and its resolver may be outside of it.
        resolver = ec2.Peer.ipv4(settings.network.cidr) if created_here else ec2.Peer.any_ipv4()
        group.add_egress_rule(resolver, ec2.Port.udp(53), "DNS")
        return group


def _group(scope: Construct, noun: str, vpc: ec2.IVpc, description: str) -> ec2.SecurityGroup:
    return ec2.SecurityGroup(scope, noun, vpc=vpc, description=description, allow_all_outbound=False)


def _anywhere(settings: Deployment) -> list[ec2.IPeer]:
    """IPv6 only where there is any: by that egress, or perhaps in an adopted VPC."""
    network = settings.network
    no_ipv6 = network.vpc_id is None and network.egress == "nat"
    return [ec2.Peer.any_ipv4()] if no_ipv6 else [ec2.Peer.any_ipv4(), ec2.Peer.any_ipv6()]

"""The nodes of the EKS target: a pool of Auto Mode, or a managed node group. All are arm64 and ours alone."""

import json
from collections.abc import Sequence

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from infra.target_settings import Eks
from infra.targets.contract import Site
from infra.targets.eks_cluster import Ground, access, attach
from infra.targets.kubernetes.nodes import Pool, limit_cpu, network_policies, node_class, node_pool
from infra.targets.kubernetes.objects import NODE_LABEL, Place

VOLUME_GB = 40
WHAT_A_NODE_DOES = (
    "Joining a cluster and pulling its images is AWS's to describe: the images of the system come from "
    "accounts of AWS that differ by Region."
)


def nodes(scope: Construct, site: Site, target: Eks, ground: Ground, place: Place) -> list[IDependable]:
    """Make them; returns what Pods must wait for."""
    if target.compute == "auto":
        return _pool(scope, site, target, ground, place)
    return _managed(scope, site, target, ground, place)


def _node_role(scope: Construct, site: Site, policies: Sequence[str]) -> iam.Role:
    made = iam.Role(
        scope,
        "NodeRole",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        description=f"What the nodes of {site.settings.name} do; Pods have roles of their own",
    )
    attach(made, policies, WHAT_A_NODE_DOES)
    return made


def _pool(scope: Construct, site: Site, target: Eks, ground: Ground, place: Place) -> list[IDependable]:
    policies = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
    node_role = _node_role(scope, site, policies)
    entry = eks.CfnAccessEntry(
        scope,
        "Nodes",
        cluster_name=ground.name,
        principal_arn=node_role.role_arn,
        type="EC2",
        access_policies=[access("AmazonEKSAutoNodePolicy")],
    )
    entry.node.add_dependency(*ground.ready)
    pool = Pool(
        place=place,
        role_name=node_role.role_name,
        subnet_ids=[subnet.subnet_id for subnet in site.network.subnets],
        security_group_ids=[ground.security_group_id, site.network.adapter_group.security_group_id],
        spot=target.workers.spot_share > 0,
        limit_cpu=limit_cpu(target.workers, target.cpu),
        grace_seconds=target.grace_seconds,
    )
    # A setting of the whole cluster is its owner's to make.
    settings = [network_policies()] if ground.created else []
    made = eks.KubernetesManifest(
        scope,
        "Pool",
        cluster=ground.handle,
        manifest=[*settings, node_class(pool), node_pool(pool)],
        overwrite=True,
    )
    made.node.add_dependency(entry)
    return [made]


def _managed(scope: Construct, site: Site, target: Eks, ground: Ground, place: Place) -> list[IDependable]:
    """A group of a fixed size, on demand. In a created cluster it needs the add-ons that Auto Mode has."""
    before = _add_ons(scope, ground, place) if ground.created else []
    policies = (
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKS_CNI_Policy",
    )
    template = _template(scope, site, ground)
    group = eks.CfnNodegroup(
        scope,
        "Nodes",
        cluster_name=ground.name,
        nodegroup_name=f"{site.settings.name}-adapter",
        node_role=_node_role(scope, site, policies).role_arn,
        subnets=[subnet.subnet_id for subnet in site.network.subnets],
        ami_type="AL2023_ARM_64_STANDARD",
        capacity_type="ON_DEMAND",
        instance_types=list(target.instance_types),
        labels={NODE_LABEL: place.name},
        taints=[eks.CfnNodegroup.TaintProperty(key=NODE_LABEL, value=place.name, effect="NO_SCHEDULE")],
        launch_template=eks.CfnNodegroup.LaunchTemplateSpecificationProperty(
            id=template.launch_template_id, version=template.latest_version_number
        ),
        scaling_config=eks.CfnNodegroup.ScalingConfigProperty(
            min_size=target.nodes, max_size=target.nodes, desired_size=target.nodes
        ),
        update_config=eks.CfnNodegroup.UpdateConfigProperty(max_unavailable=1),
    )
    group.node.add_dependency(*ground.ready, *before)
    names = _add_on(scope, ground, "coredns", {"tolerations": [place.toleration]}) if ground.created else None
    if names is not None:
        names.node.add_dependency(group)
    return [group] if names is None else [group, names]


def _add_ons(scope: Construct, ground: Ground, place: Place) -> list[IDependable]:
    """What nodes need to be ready. The one for networks also enforces network policies."""
    found = [
        _add_on(scope, ground, "vpc-cni", {"enableNetworkPolicy": "true"}),
        _add_on(scope, ground, "kube-proxy"),
        _add_on(scope, ground, "eks-pod-identity-agent"),
    ]
    return list(found)


def _add_on(
    scope: Construct, ground: Ground, name: str, values: dict[str, object] | None = None
) -> eks.CfnAddon:
    made = eks.CfnAddon(
        scope,
        f"AddOn-{name}",
        cluster_name=ground.name,
        addon_name=name,
        configuration_values=json.dumps(values) if values else None,
        resolve_conflicts="OVERWRITE",
    )
    made.node.add_dependency(*ground.ready)
    return made


def _template(scope: Construct, site: Site, ground: Ground) -> ec2.LaunchTemplate:
    """By the cluster's group a node reaches the API, by the adapter's the interface endpoints."""
    template = ec2.LaunchTemplate(
        scope,
        "Template",
        launch_template_name=f"{site.settings.name}-node",
        security_group=site.network.adapter_group,
        require_imdsv2=True,
        # One hop ends at the node: Pods do not get at the node's role.
        http_put_response_hop_limit=1,
        block_devices=[
            ec2.BlockDevice(
                device_name="/dev/xvda",
                # The account's own EBS key: the service-linked role that attaches volumes may not use ours.
                volume=ec2.BlockDeviceVolume.ebs(
                    VOLUME_GB, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3
                ),
            )
        ],
    )
    template.connections.add_security_group(
        ec2.SecurityGroup.from_security_group_id(scope, "NodeGroup", ground.security_group_id, mutable=False)
    )
    return template

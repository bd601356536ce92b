"""The cluster: created or adopted, who may act in it, and the function that applies manifests to it.

A created cluster's API has a private address only. The function that applies manifests therefore has its
network interfaces in the same subnets, as everything has that administers the cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct, IConstruct, IDependable

from infra.log_group import log_group
from infra.policy.acknowledgments import (
    HIPAA,
    NIST,
    PCI,
    SERVERLESS,
    SOLUTIONS,
    acknowledge,
    acknowledge_in,
    acknowledge_wildcards,
)
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.target_settings import Eks
from infra.targets.contract import Site

CONTROL_PLANE_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
AUTO_MODE_POLICIES = ("Compute", "BlockStorage", "LoadBalancing", "Networking")
"""What AWS asks of a cluster in Auto Mode, besides AmazonEKSClusterPolicy."""
ADMINISTRATOR = "AmazonEKSClusterAdminPolicy"
OWN_STREAMS = "The streams of the function's own log group."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything in the cluster is built on."""

    name: str
    arn: str
    security_group_id: str
    """The cluster's own group: whoever has it reaches the API."""
    handle: eks.ICluster
    """Takes manifests and charts."""
    ready: Sequence[IDependable]
    """What must be there before anything is applied."""
    created: bool


def ground(scope: Construct, site: Site, target: Eks) -> Ground:
    """The cluster of the settings, or one of our own."""
    if target.cluster_name is not None:
        name, group = target.cluster_name, str(target.cluster_security_group_id)
        applier: iam.IRole = iam.Role.from_role_arn(
            scope, "KubectlRole", str(target.kubectl_role_arn), mutable=False
        )
        ready: list[IDependable] = []
    else:
        name = site.settings.name
        made = _created(scope, site, target)
        group = made.attr_cluster_security_group_id
        applier = _kubectl_role(scope, site)
        for arn in target.admin_role_arns:
            # By whom it is for, not by place in the list: a shuffled list then changes nothing.
            _administrator(scope, made, f"Administrator-{arn.split(':', 4)[4].replace('/', '-')}", arn)
        ready = [made, _administrator(scope, made, "Applier", applier.role_arn)]
    return Ground(
        name=name,
        arn=site.names.arn("eks", f"cluster/{name}"),
        security_group_id=group,
        handle=_handle(scope, site, name, group, applier),
        ready=ready,
        created=target.cluster_name is None,
    )


def _created(scope: Construct, site: Site, target: Eks) -> eks.CfnCluster:
    """As CloudFormation has it: CDK's own construct adds a second security group and tags our subnets."""
    name = site.settings.name
    # EKS would make the group itself, without retention and key.
    group = log_group(
        scope, "ControlPlane", name=f"/aws/eks/{name}/cluster", settings=site.settings, key=site.key
    )
    auto = target.compute == "auto"
    # All three or none: Auto Mode takes no part of it. Nothing here asks for a load balancer or a volume.
    made = eks.CfnCluster(
        scope,
        "Resource",
        name=name,
        version=target.version,
        role_arn=_cluster_role(scope, site, auto).role_arn,
        access_config=eks.CfnCluster.AccessConfigProperty(
            authentication_mode="API", bootstrap_cluster_creator_admin_permissions=False
        ),
        # No pool of Auto Mode's own: its nodes are amd64, and their security group reaches no endpoint.
        compute_config=eks.CfnCluster.ComputeConfigProperty(enabled=auto),
        storage_config=eks.CfnCluster.StorageConfigProperty(
            block_storage=eks.CfnCluster.BlockStorageProperty(enabled=auto)
        ),
        kubernetes_network_config=eks.CfnCluster.KubernetesNetworkConfigProperty(
            ip_family="ipv4",
            elastic_load_balancing=eks.CfnCluster.ElasticLoadBalancingProperty(enabled=auto),
        ),
        bootstrap_self_managed_addons=False,
        resources_vpc_config=eks.CfnCluster.ResourcesVpcConfigProperty(
            subnet_ids=[subnet.subnet_id for subnet in site.network.subnets],
            endpoint_private_access=True,
            endpoint_public_access=False,
        ),
        encryption_config=[
            eks.CfnCluster.EncryptionConfigProperty(
                provider=eks.CfnCluster.ProviderProperty(key_arn=site.key.key_arn), resources=["secrets"]
            )
        ],
        logging=_control_plane_logs(),
        deletion_protection=site.settings.protect,
    )
    made.node.add_dependency(group)
    return made


def _control_plane_logs() -> eks.CfnCluster.LoggingProperty:
    kind = eks.CfnCluster.LoggingTypeConfigProperty
    return eks.CfnCluster.LoggingProperty(
        cluster_logging=eks.CfnCluster.ClusterLoggingProperty(
            enabled_types=[kind(type=name) for name in CONTROL_PLANE_LOGS]
        )
    )


def _cluster_role(scope: Construct, site: Site, auto: bool) -> iam.Role:
    made = role(
        scope,
        "ClusterRole",
        trusted=iam.ServicePrincipal("eks.amazonaws.com").with_session_tags(),
        description=f"What EKS does for the cluster of {site.settings.name}",
        statements=[
            allow(
                "Secrets",
                ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:ListGrants"],
                [site.key.key_arn],
            )
        ],
    )
    nouns = ("Cluster", *(AUTO_MODE_POLICIES if auto else ()))
    attach(
        made,
        [f"AmazonEKS{noun}Policy" for noun in nouns],
        "It is the service's own work in the account, which AWS describes in this policy and widens with the "
        "service; a copy would break the cluster at EKS's next release.",
    )
    return made


def attach(made: iam.Role, policies: Sequence[str], reason: str) -> None:
    """Add policies that AWS keeps, each with the reason why it is not one of ours."""
    for name in policies:
        made.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(name))
        acknowledge(made, reason, (SOLUTIONS, f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{name}]"))


def _administrator(scope: Construct, cluster: eks.CfnCluster, id_: str, role_arn: str) -> eks.CfnAccessEntry:
    """An access entry with all rights in the cluster."""
    entry = eks.CfnAccessEntry(
        scope,
        id_,
        cluster_name=str(cluster.name),
        principal_arn=role_arn,
        access_policies=[access(ADMINISTRATOR)],
    )
    entry.node.add_dependency(cluster)
    return entry


def access(policy: str) -> eks.CfnAccessEntry.AccessPolicyProperty:
    """One of EKS's access policies, for the whole cluster."""
    return eks.CfnAccessEntry.AccessPolicyProperty(
        policy_arn=f"arn:{cdk.Aws.PARTITION}:eks::aws:cluster-access-policy/{policy}",
        access_scope=eks.CfnAccessEntry.AccessScopeProperty(type="cluster"),
    )


def _kubectl_role(scope: Construct, site: Site) -> iam.IRole:
    names = site.names
    streams = names.arn("logs", f"log-group:{_function_group(site)}:*")
    interfaces = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeSubnets",
    ]
    return role(
        scope,
        "KubectlRole",
        trusted=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=f"Applies the manifests of {site.settings.name}",
        statements=[
            allow("Find", ["eks:DescribeCluster"], [names.arn("eks", f"cluster/{site.settings.name}")]),
            allow("Interfaces", interfaces, ["*"]),
            allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams]),
        ],
        wildcards={
            "*": "Lambda puts a function into a VPC only if its role may do this to any network interface.",
            streams: OWN_STREAMS,
        },
    ).without_policy_updates()


def _function_group(site: Site) -> str:
    return f"/aws/lambda/{site.settings.name}-kubectl"


def _handle(scope: Construct, site: Site, name: str, group: str, applier: iam.IRole) -> eks.ICluster:
    """The same for both kinds of cluster: known by name, with a function of ours that applies manifests."""
    cluster_group = ec2.SecurityGroup.from_security_group_id(scope, "ClusterGroup", group, mutable=False)
    known = eks.Cluster.from_cluster_attributes(scope, "Known", cluster_name=name, vpc=site.network.vpc)
    provider = eks.KubectlProvider(
        scope,
        "Kubectl",
        cluster=known,
        kubectl_layer=KubectlV35Layer(scope, "KubectlLayer"),
        role=applier,
        private_subnets=site.network.subnets,
        # By the cluster's group it reaches the API, by the adapter's the interface endpoints.
        security_groups=[cluster_group, site.network.adapter_group],
    )
    _settle(scope, site, provider)
    return eks.Cluster.from_cluster_attributes(
        scope, "Cluster", cluster_name=name, kubectl_provider=provider, prune=False
    )


def _settle(scope: Construct, site: Site, provider: eks.KubectlProvider) -> None:
    """What CDK leaves open at its two functions: where they log, where they are, what they may do."""
    group = log_group(scope, "KubectlLogs", name=_function_group(site), settings=site.settings, key=site.key)
    handler, framework = provider.node.find_child("Handler"), _framework(provider)
    applier, caller = handler.node.default_child, framework.node.default_child
    assert isinstance(applier, lambda_.CfnFunction)  # noqa: S101 - narrows the type
    assert isinstance(caller, lambda_.CfnFunction)  # noqa: S101 - narrows the type
    for function in (applier, caller):
        function.logging_config = lambda_.CfnFunction.LoggingConfigProperty(log_group=group.log_group_name)
    caller.memory_size = 128
    # It answers CloudFormation at a bucket of AWS's, which the policy of the VPC's S3 endpoint refuses.
    caller.add_property_deletion_override("VpcConfig")
    _restrict(scope, site, framework)
    # A condition for permissions that our role does not have.
    scope.node.try_remove_child("HasEcrPublic")
    _acknowledge(provider, handler, framework)


def _framework(provider: eks.KubectlProvider) -> IConstruct:
    """The function that CloudFormation calls, and that calls the one which applies manifests."""
    return provider.node.find_child("Provider").node.find_child("framework-onEvent")


def _restrict(scope: Construct, site: Site, framework: IConstruct) -> None:
    """It calls the other function; for its log it needs no more than this, and CDK gives more."""
    streams = site.names.arn("logs", f"log-group:{_function_group(site)}:*")
    policy = iam.ManagedPolicy(
        scope,
        "CallerPolicy",
        description=f"The log of what calls kubectl for {site.settings.name}",
        statements=[allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams])],
    )
    acknowledge_wildcards(policy, {streams: OWN_STREAMS})
    made = framework.node.find_child("ServiceRole").node.default_child
    assert isinstance(made, iam.CfnRole)  # noqa: S101 - narrows the type
    made.managed_policy_arns = [policy.managed_policy_arn]


def _acknowledge(provider: eks.KubectlProvider, handler: IConstruct, framework: IConstruct) -> None:
    waited = (
        "CloudFormation calls it while a stack is deployed and waits for the answer; a failed call fails the "
        "deployment, and leaves nothing to be worked on later."
    )
    once = (
        "A deployment applies its manifests one after the other; reserving even one copy takes it from the "
        "account."
    )
    traced = "It runs while a stack is deployed, and its log says what it did; nobody waits on its latency."
    outside = (
        "It calls the Lambda API and answers CloudFormation, and nothing in the VPC; the policy of the VPC's "
        "S3 endpoint would refuse the answer."
    )
    runtime = (
        "CDK ships it with an AWS CLI that runs on this Python; the newest one has not been tried with it."
    )
    inline = "CDK makes the policy inline, with the one right to call the function that applies manifests."
    acknowledge_in(provider, waited, "LambdaDLQ", (NIST, HIPAA, SERVERLESS))
    acknowledge_in(provider, once, "LambdaConcurrency", (NIST, HIPAA))
    acknowledge(provider, traced, (SERVERLESS, "LambdaTracing"))
    acknowledge(handler, runtime, (SOLUTIONS, "L1"), (SERVERLESS, "LambdaLatestVersion"))
    acknowledge_in(framework, outside, "LambdaInsideVPC", (NIST, HIPAA, PCI))
    acknowledge_in(framework, inline, "IAMNoInlinePolicy", (NIST, HIPAA, PCI))
    versions = "The versions of one function, which applies manifests and is CDK's own."
    acknowledge(framework, versions, (SOLUTIONS, f"IAM5[Resource::<{_logical_id(handler)}.Arn>:*]"))


def _logical_id(handler: IConstruct) -> str:
    made = handler.node.default_child
    assert isinstance(made, lambda_.CfnFunction)  # noqa: S101 - narrows the type
    return str(cdk.Stack.of(handler).resolve(made.logical_id))

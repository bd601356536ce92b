"""The EKS target in its templates: cluster, nodes, identities, order, adoption, and its settings."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.errors import SettingsError
from tests.infra.conftest import ACCOUNT, ROOT, Template, Templates, everywhere, resources, synthesize
from tests.infra.test_eks_manifests import manifests, of_kind, pod, text
from tests.infra.test_settings import deployment

CLUSTER = f"arn:aws:eks:us-west-2:{ACCOUNT}:cluster/mtrl-dev-sop"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/platform-keda"
ADOPTED = {
    "cluster_name": "platform",
    "kubectl_role_arn": f"arn:aws:iam::{ACCOUNT}:role/platform-kubectl",
    "cluster_security_group_id": "sg-0123456789abcdef0",
    "keda": {"mode": "adopt", "operator_role_arn": OPERATOR},
}
VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "availability_zones": ["us-west-2a", "us-west-2b"],
}
MANAGED = {"compute": "managed", "instance_types": ["c7g.xlarge"], "nodes": 3}
VARIANTS = {
    "auto": {},
    "managed": MANAGED,
    "adopted": ADOPTED,
    "adopted managed": {**ADOPTED, **MANAGED},
    "mirrored": {
        "keda": {
            "chart_repository": "oci://mirror.example.com/charts",
            "image_registry": "mirror.example.com",
        },
        "log_shipper_image": "mirror.example.com/fluent-bit:3.4.14",
    },
}
KINDS_OF_CLUSTER = pytest.mark.parametrize("variant", VARIANTS)


@cache
def template(variant: str) -> Template:
    """The adapter's stack of `dev`, with these settings of the target."""
    return synthesize("dev", "eks", changes(variant))["adapter-eks"]


def changes(variant: str) -> dict[str, Any]:
    """Of the environment's entry: an adopted cluster comes with its VPC."""
    entry: dict[str, Any] = {"targets": {"eks": VARIANTS[variant]}}
    return {**entry, "network": VPC} if "adopted" in variant else entry


def one(found: Template, kind: str) -> dict[str, Any]:
    [resource] = resources(found, kind)
    return resource


def unit(found: Template, kind: str, name: str) -> dict[str, Any]:
    """The custom resource that applies an object."""
    for each in resources(found, "Custom::AWSCDK-EKS-KubernetesResource"):
        for manifest in json.loads(text(each["Properties"]["Manifest"])):
            if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name):
                return each
    raise AssertionError(f"nothing applies {kind} {name}")


def before(found: Template, resource: Mapping[str, Any]) -> set[str]:
    """The types and ids of all that CloudFormation makes before a resource, named by DependsOn."""
    reached: set[str] = set()
    waiting = list(resource.get("DependsOn", ()))
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += found["Resources"][name].get("DependsOn", ())
    return reached


def test_the_cluster_is_closed_encrypted_and_logged() -> None:
    found = template("auto")
    cluster = one(found, "AWS::EKS::Cluster")
    properties = cluster["Properties"]
    assert properties["Name"] == "mtrl-dev-sop"
    network = properties["ResourcesVpcConfig"]
    assert (network["EndpointPrivateAccess"], network["EndpointPublicAccess"]) == (True, False)
    assert len(network["SubnetIds"]) == 2
    [encryption] = properties["EncryptionConfig"]
    assert encryption["Resources"] == ["secrets"]
    assert "FoundationKey" in json.dumps(encryption["Provider"])
    types = properties["Logging"]["ClusterLogging"]["EnabledTypes"]
    assert {each["Type"] for each in types} == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    groups = {each["Properties"]["LogGroupName"]: each for each in resources(found, "AWS::Logs::LogGroup")}
    own = groups["/aws/eks/mtrl-dev-sop/cluster"]
    assert own["id"] in cluster["DependsOn"], "or EKS makes it first, without a key"
    access = properties["AccessConfig"]
    assert access == {"AuthenticationMode": "API", "BootstrapClusterCreatorAdminPermissions": False}


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_production_resists_deletion(synthesized: Callable[[str, str], Templates], env: str) -> None:
    [cluster] = resources(synthesized(env, "eks")["adapter-eks"], "AWS::EKS::Cluster")
    assert cluster["Properties"]["DeletionProtection"] is (env == "prod")


def test_administrators_are_known_by_their_roles() -> None:
    admins = [f"arn:aws:iam::{ACCOUNT}:role/team/{name}" for name in ("on-call", "platform")]
    ids = []
    for order in (admins, admins[::-1]):
        found = synthesize("dev", "eks", {"targets": {"eks": {"admin_role_arns": order}}})["adapter-eks"]
        entries = resources(found, "AWS::EKS::AccessEntry")
        ids.append({str(each["Properties"]["PrincipalArn"]): each["id"] for each in entries})
        for entry in entries:
            if entry["Properties"]["PrincipalArn"] in admins:
                assert "AmazonEKSClusterAdminPolicy" in json.dumps(entry)
    assert set(admins) <= set(ids[0])
    assert ids[0] == ids[1], "the order in the settings is nobody's business"


def test_auto_mode_has_no_nodes_but_ours() -> None:
    properties = one(template("auto"), "AWS::EKS::Cluster")["Properties"]
    assert properties["ComputeConfig"] == {"Enabled": True}
    assert properties["StorageConfig"] == {"BlockStorage": {"Enabled": True}}
    assert properties["KubernetesNetworkConfig"]["ElasticLoadBalancing"] == {"Enabled": True}
    [entry] = [
        each
        for each in resources(template("auto"), "AWS::EKS::AccessEntry")
        if each["Properties"].get("Type") == "EC2"
    ]
    assert "AmazonEKSAutoNodePolicy" in json.dumps(entry)
    of_pool = unit(template("auto"), "NodePool", "mtrl-dev-sop")
    assert entry["id"] in before(template("auto"), of_pool)
    assert not resources(template("auto"), "AWS::EKS::Nodegroup")
    assert not resources(template("auto"), "AWS::EKS::Addon")


def test_a_managed_group_is_hardened_and_has_its_add_ons() -> None:
    found = template("managed")
    group = one(found, "AWS::EKS::Nodegroup")
    properties = group["Properties"]
    assert properties["AmiType"] == "AL2023_ARM_64_STANDARD"
    assert properties["InstanceTypes"] == ["c7g.xlarge"]
    assert properties["ScalingConfig"] == {"MinSize": 3, "MaxSize": 3, "DesiredSize": 3}
    data = one(found, "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert [each["Ebs"]["Encrypted"] for each in data["BlockDeviceMappings"]] == [True]
    assert len(data["SecurityGroupIds"]) == 2, "the cluster's own and the adapter's"
    add_ons = {each["Properties"]["AddonName"]: each for each in resources(found, "AWS::EKS::Addon")}
    assert set(add_ons) == {"vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns"}
    values = json.loads(add_ons["vpc-cni"]["Properties"]["ConfigurationValues"])
    assert values == {"enableNetworkPolicy": "true"}
    assert add_ons["vpc-cni"]["id"] in before(found, group), "no node is ready without a network"
    assert group["id"] in before(found, add_ons["coredns"])
    [taint] = properties["Taints"]
    [toleration] = json.loads(add_ons["coredns"]["Properties"]["ConfigurationValues"])["tolerations"]
    assert (toleration["key"], toleration["value"]) == (taint["Key"], taint["Value"])
    kinds = {each["kind"] for each in manifests(found)}
    assert not {"NodePool", "NodeClass"} & kinds
    for worker in of_kind(manifests(found), "Deployment"):
        assert (
            pod(worker)["nodeSelector"].items()
            == {
                **properties["Labels"],
                "kubernetes.io/arch": "arm64",
            }.items()
        )


@KINDS_OF_CLUSTER
def test_manifests_are_applied_from_inside_of_the_vpc(variant: str) -> None:
    found = template(variant)
    functions = resources(found, "AWS::Lambda::Function")
    [applier] = [each for each in functions if each["Properties"]["Handler"] == "index.handler"]
    [caller] = [each for each in functions if each["Properties"]["Handler"] == "framework.onEvent"]
    within = applier["Properties"]["VpcConfig"]
    assert len(within["SecurityGroupIds"]) == 2, (
        "the cluster's, for the API, and the adapter's, for endpoints"
    )
    assert len(within["SubnetIds"]) == 2
    assert "VpcConfig" not in caller["Properties"], "its answer to CloudFormation would be refused there"
    [kept] = [
        each
        for each in resources(found, "AWS::Logs::LogGroup")
        if each["Properties"]["LogGroupName"] == "/aws/lambda/mtrl-dev-sop-kubectl"
    ]
    for function in (applier, caller):
        assert function["Properties"]["LoggingConfig"] == {"LogGroup": {"Ref": kept["id"]}}


def trusts(found: Template) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The associations of Pod Identity, each with the trust of its role."""
    for association in resources(found, "AWS::EKS::PodIdentityAssociation"):
        properties = association["Properties"]
        role = found["Resources"][properties["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        yield properties, statement


@KINDS_OF_CLUSTER
def test_each_service_account_has_a_role_of_its_own(variant: str) -> None:
    found = template(variant)
    cluster = "platform" if "adopted" in variant else "mtrl-dev-sop"
    pairs = list(trusts(found))
    who = {(each["Namespace"], each["ServiceAccount"]) for each, _ in pairs}
    installed = set() if "adopted" in variant else {("keda", "keda-operator")}
    own = {("mtrl-dev-sop", "adapter"), ("mtrl-dev-sop-logs", "log-shipper")}
    assert who == own | installed
    accounts = of_kind(manifests(found), "ServiceAccount")
    assert {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in accounts} == own
    for properties, statement in pairs:
        assert properties["ClusterName"] == cluster
        assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert sorted(statement["Action"]) == ["sts:AssumeRole", "sts:TagSession"]
        assert statement["Condition"]["StringEquals"] == {
            "aws:SourceAccount": ACCOUNT,
            "aws:RequestTag/eks-cluster-arn": CLUSTER.replace("mtrl-dev-sop", cluster),
            "aws:RequestTag/kubernetes-namespace": properties["Namespace"],
            "aws:RequestTag/kubernetes-service-account": properties["ServiceAccount"],
        }


@KINDS_OF_CLUSTER
def test_workers_come_last(variant: str) -> None:
    """A Pod that starts before its identity has none; one without the shipper, or nodes, is lost to sight."""
    found = template(variant)
    worker = unit(found, "Deployment", "adapter")
    first = before(found, worker)
    identities = {
        each["id"]
        for each in resources(found, "AWS::EKS::PodIdentityAssociation")
        if each["Properties"]["ServiceAccount"] != "keda-operator"
    }
    assert identities <= first
    assert unit(found, "DaemonSet", "log-shipper")["id"] in first
    for entry in resources(found, "AWS::EKS::AccessEntry"):
        if entry["Properties"].get("Type") != "EC2":
            assert entry["id"] in first, "nobody may apply anything before"
    charts = resources(found, "Custom::AWSCDK-EKS-HelmChart")
    for chart in charts:
        [identity] = [
            each["id"]
            for each in resources(found, "AWS::EKS::PodIdentityAssociation")
            if each["Properties"]["ServiceAccount"] == "keda-operator"
        ]
        assert identity in before(found, chart)
        assert chart["id"] in before(found, unit(found, "TriggerAuthentication", "queue"))


def test_keda_may_count_messages_and_nothing_else() -> None:
    for variant in VARIANTS:
        [policy] = [
            each["Properties"]["PolicyDocument"]["Statement"]
            for each in resources(template(variant), "AWS::IAM::ManagedPolicy")
            if each["Properties"]["Description"].startswith("Reads how many rollouts wait")
        ]
        [statement] = policy
        assert statement["Action"] == "sqs:GetQueueAttributes"
        assert statement["Resource"] == f"arn:aws:sqs:us-west-2:{ACCOUNT}:mtrl-dev-sop-rollouts"


def test_the_shipper_may_write_the_adapters_log_alone() -> None:
    [policy] = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in resources(template("auto"), "AWS::IAM::ManagedPolicy")
        if each["Properties"]["Description"].startswith("Sends the log")
    ]
    [statement] = policy
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/mtrl/mtrl-dev-sop/eks:*"


def test_keda_is_installed_where_it_reaches_the_endpoints() -> None:
    properties = one(template("auto"), "Custom::AWSCDK-EKS-HelmChart")["Properties"]
    assert properties["Repository"] == "https://kedacore.github.io/charts"
    assert properties["Version"].count(".") == 2
    assert properties["Wait"] is True
    values = json.loads(text(properties["Values"]))
    [worker] = of_kind(manifests(template("auto")), "Deployment")[:1]
    assert values["nodeSelector"].items() <= pod(worker)["nodeSelector"].items()
    assert values["tolerations"] == pod(worker)["tolerations"]
    assert values["serviceAccount"]["operator"]["name"] == "keda-operator"


def test_charts_and_images_come_from_a_mirror() -> None:
    found = template("mirrored")
    properties = one(found, "Custom::AWSCDK-EKS-HelmChart")["Properties"]
    assert properties["Repository"] == "oci://mirror.example.com/charts"
    assert json.loads(text(properties["Values"]))["global"] == {"image": {"registry": "mirror.example.com"}}
    [shipper] = of_kind(manifests(found), "DaemonSet")
    assert pod(shipper)["containers"][0]["image"] == "mirror.example.com/fluent-bit:3.4.14"


def test_an_adopted_cluster_is_not_made_and_not_set_up() -> None:
    found = template("adopted")
    assert not resources(found, "AWS::EKS::Cluster")
    assert not resources(found, "AWS::EKS::Addon")
    assert not resources(found, "Custom::AWSCDK-EKS-HelmChart")
    assert not resources(template("adopted managed"), "AWS::EKS::Addon")
    applied = manifests(found)
    assert not [each for each in applied if each["metadata"].get("namespace") == "kube-system"]
    for each in resources(found, "Custom::AWSCDK-EKS-KubernetesResource"):
        assert each["Properties"]["ClusterName"] == "platform"
    [applier] = [
        each["Properties"]
        for each in resources(found, "AWS::Lambda::Function")
        if each["Properties"]["Handler"] == "index.handler"
    ]
    assert applier["Role"] == ADOPTED["kubectl_role_arn"]
    assert "sg-0123456789abcdef0" in applier["VpcConfig"]["SecurityGroupIds"]
    [nodes] = of_kind(applied, "NodeClass")
    assert {"id": "sg-0123456789abcdef0"} in nodes["spec"]["securityGroupSelectorTerms"]


def test_an_adopted_keda_takes_on_a_role_of_ours() -> None:
    found = template("adopted")
    [authentication] = of_kind(manifests(found), "TriggerAuthentication")
    assert set(authentication["spec"]["podIdentity"]) == {"provider", "roleArn"}
    [statement] = [
        statement
        for role in resources(found, "AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"] == {"AWS": OPERATOR}
    ]
    # The operator's own session has tags that it hands on: without this it cannot take on a second role.
    assert "sts:TagSession" in statement["Action"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"keda": {"mode": "adopt"}}, "keda: an adopted KEDA needs operator_role_arn, the AWS role of its"),
        (
            {"keda": {"mode": "adopt", "operator_role_arn": OPERATOR, "image_registry": "mirror"}},
            "keda: chart_repository and image_registry are for mode 'install'.",
        ),
        ({"keda": {"operator_role_arn": OPERATOR}}, "operator_role_arn is for mode 'adopt'; an installed"),
        ({**ADOPTED, "admin_role_arns": [OPERATOR]}, "admin_role_arns are for a created cluster; an adopted"),
        (
            {"compute": "managed", "workers": {"spot_share": 0.5}},
            "workers.spot_share: the managed node group is on demand; Spot needs compute 'auto'.",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        deployment("eks", targets={"eks": settings})
    assert sentence in str(caught.value)


def test_an_adopted_cluster_comes_with_its_vpc() -> None:
    with pytest.raises(SettingsError) as caught:
        deployment("eks", targets={"eks": ADOPTED})
    assert "network.vpc_id: cluster 'platform' is in a VPC already; name that VPC" in str(caught.value)


def test_pods_without_ipv6_are_not_sent_out_by_it() -> None:
    with pytest.raises(SettingsError) as caught:
        deployment("eks", network={"egress": "ipv6_egress_only"})
    assert "settings: network.egress: the Pods of target 'eks' have IPv4 addresses only" in str(caught.value)
    assert deployment("fargate", network={"egress": "ipv6_egress_only"}).network.egress == "ipv6_egress_only"


@KINDS_OF_CLUSTER
def test_logs_are_shipped_until_the_last_pod_is_gone(variant: str) -> None:
    """What comes first goes last: the namespace, and its Pods with it, before the shipper."""
    found = template(variant)
    home, shipper = unit(found, "Namespace", "mtrl-dev-sop"), unit(found, "DaemonSet", "log-shipper")
    assert home["id"] != shipper["id"]
    assert shipper["id"] in before(found, home)


@KINDS_OF_CLUSTER
def test_no_finding_lacks_a_reason(variant: str, tmp_path: Path) -> None:
    """The packs and the linter, on what `make synth` does not make."""
    import aws_cdk as cdk

    from infra.context import load
    from infra.stacks import build
    from infra.synthesis import PACKS, lint, report

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": "dev", "target": "eks", "adapter": "sop"}
    context["environments"]["dev"] |= changes(variant)
    app = cdk.App(context=context, outdir=str(tmp_path))
    build(app, load(app.node.try_get_context, ROOT, ACCOUNT), ROOT)
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in PACKS.values()))
    app.synth()
    findings, accepted = report(tmp_path)
    assert findings == dict.fromkeys(PACKS, 0)
    assert accepted
    assert lint([tmp_path]) == {tmp_path: []}


def test_two_workers_on_demand_need_no_keda() -> None:
    found = synthesize("dev", "eks", {"targets": {"eks": {"workers": {"min": 2, "max": 2}}}})
    assert not everywhere(found, "Custom::AWSCDK-EKS-HelmChart")
    assert [each["kind"] for each in manifests(found["adapter-eks"])].count("ScaledObject") == 0

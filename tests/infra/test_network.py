"""The network: nothing comes in but 443 to endpoints, and what goes out goes by the setting."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, ROOT, Template, resources

TARGETS = ("agentcore", "ec2", "eks", "fargate")
IPV6 = {"network": {"egress": "ipv6_egress_only"}}
ADOPTED = {
    "network": {
        "vpc_id": "vpc-0123456789abcdef0",
        "private_subnet_ids": ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"],
        "availability_zones": ["us-west-2a", "us-west-2c"],
    }
}
Room = tuple[Template, Mapping[str, Any]]
"""The stack's template, and the manifest of the assembly."""


def build(target: str, changes: str, env: str) -> Room:
    """The network's stack alone, next to a key: other rooms have no say in it."""
    import aws_cdk as cdk
    from aws_cdk import aws_kms as kms

    from infra.context import load
    from infra.network import Network
    from infra.stacks import stack

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": env, "target": target, "adapter": "sop"}
    context["environments"][env] |= json.loads(changes)
    app = cdk.App(context=context)
    settings = load(app.node.try_get_context, ROOT, ACCOUNT)
    made = stack(app, settings, "network")
    key = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"
    room = Network(made, settings=settings, key=kms.Key.from_key_arn(made, "Key", key))
    # A use of what targets get: a network interface in each subnet.
    for number, subnet in enumerate(room.subnets):
        cdk.CfnOutput(made, f"Subnet{number}", value=f"{subnet.subnet_id} {subnet.availability_zone}")
    assembly = app.synth()
    template: Template = assembly.get_stack_artifact(made.artifact_id).template
    return template, json.loads((Path(assembly.directory) / "manifest.json").read_text())


cached = cache(build)


def network(target: str = "fargate", changes: Mapping[str, Any] | None = None, env: str = "dev") -> Template:
    return cached(target, json.dumps(changes or {}), env)[0]


def properties(template: Template, kind: str) -> list[dict[str, Any]]:
    return [resource.get("Properties", {}) for resource in resources(template, kind)]


def group(template: Template, words: str) -> dict[str, Any]:
    """The security group whose description holds the words."""
    [found] = [
        each
        for each in resources(template, "AWS::EC2::SecurityGroup")
        if words in each["Properties"]["GroupDescription"]
    ]
    return found


def interfaces(template: Template) -> dict[str, dict[str, Any]]:
    """The interface endpoints, by service name without the common beginning."""
    return {
        each["ServiceName"].removeprefix("com.amazonaws.us-west-2."): each
        for each in properties(template, "AWS::EC2::VPCEndpoint")
        if each["VpcEndpointType"] == "Interface"
    }


def gateway(template: Template, service: str) -> dict[str, Any]:
    [found] = [
        each
        for each in properties(template, "AWS::EC2::VPCEndpoint")
        if each["VpcEndpointType"] == "Gateway" and service in json.dumps(each["ServiceName"])
    ]
    return found


def routes(template: Template, target: str) -> list[dict[str, Any]]:
    return [each for each in properties(template, "AWS::EC2::Route") if target in each]


def private_subnets(template: Template) -> list[dict[str, Any]]:
    found = [
        each
        for each in resources(template, "AWS::EC2::Subnet")
        if {"Key": "aws-cdk:subnet-type", "Value": "Private"} in each["Properties"]["Tags"]
    ]
    assert found
    return found


VARIANTS: list[tuple[str, Mapping[str, Any], str]] = [
    *((target, {}, env) for target in TARGETS for env in ("dev", "prod")),
    *((target, IPV6, "prod") for target in TARGETS if target != "eks"),  # refused: Pods would have no IPv6
    ("fargate", ADOPTED, "prod"),
]


@pytest.mark.parametrize(("target", "changes", "env"), VARIANTS)
def test_the_only_way_in_is_443_on_the_endpoints_from_groups_by_id(
    target: str, changes: Mapping[str, Any], env: str
) -> None:
    template = network(target, changes, env)
    for each in properties(template, "AWS::EC2::SecurityGroup"):
        assert not each.get("SecurityGroupIngress")
    rules = properties(template, "AWS::EC2::SecurityGroupIngress")
    if changes is ADOPTED:
        assert rules == []
        return
    callers = [group(template, "adapters;")["id"]]
    callers += [group(template, "jobs;")["id"]] if env == "prod" else []
    endpoint_group = {"Fn::GetAtt": [group(template, "interface endpoints")["id"], "GroupId"]}
    assert [rule["SourceSecurityGroupId"]["Fn::GetAtt"][0] for rule in rules] == callers
    for rule in rules:
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
        assert rule["GroupId"] == endpoint_group
        assert "CidrIp" not in rule


@pytest.mark.parametrize(("target", "changes", "env"), VARIANTS)
def test_nothing_is_given_a_public_address_but_a_nat_gateway(
    target: str, changes: Mapping[str, Any], env: str
) -> None:
    template = network(target, changes, env)
    assert not any(each["MapPublicIpOnLaunch"] for each in properties(template, "AWS::EC2::Subnet"))
    addresses = {each["id"] for each in resources(template, "AWS::EC2::EIP")}
    of_nat = {each["AllocationId"]["Fn::GetAtt"][0] for each in properties(template, "AWS::EC2::NatGateway")}
    assert addresses == of_nat


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_workload_groups_let_443_out(env: str) -> None:
    template = network(env=env)
    [rule] = group(template, "adapters;")["Properties"]["SecurityGroupEgress"]
    assert (rule["CidrIp"], rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
        "0.0.0.0/0",
        "tcp",
        443,
        443,
    )
    out = group(template, "interface endpoints")["Properties"]["SecurityGroupEgress"]
    assert [rule["CidrIp"] for rule in out] == ["255.255.255.255/32"]


def exports(template: Template) -> set[str]:
    named = (output.get("Export", {}).get("Name") for output in template["Outputs"].values())
    return {name for name in named if name}


@pytest.mark.parametrize(
    ("env", "target", "changes"),
    [
        ("prod", "fargate", {"customization": {"job_in_vpc": False}}),
        ("dev", "agentcore", {"targets": {"agentcore": {"network_mode": "public"}}}),
    ],
)
def test_what_another_stack_imports_does_not_go_by_a_setting(
    synthesized: Callable[[str, str], Mapping[str, Template]],
    env: str,
    target: str,
    changes: Mapping[str, Any],
) -> None:
    """The network is deployed first, and CloudFormation lets no export go while it is imported."""
    importing = json.dumps(list(synthesized(env, target).values()))
    imported = set(re.findall(rf'"Fn::ImportValue": "(mtrl-{env}-sop-network:[^"]+)"', importing))
    assert len(imported) > 2
    assert imported <= exports(network(target, changes, env))


def test_a_job_in_the_vpc_has_a_group_of_its_own_with_dns() -> None:
    out = group(network(env="prod"), "jobs;")["Properties"]["SecurityGroupEgress"]
    seen = {(rule["IpProtocol"], rule["FromPort"], rule["CidrIp"]) for rule in out}
    assert seen == {("tcp", 443, "0.0.0.0/0"), ("udp", 53, "10.64.0.0/20")}


@pytest.mark.parametrize(("count", "zones"), [(1, "ab"), (2, "ab"), (3, "abc")])
def test_nat_gateways_by_setting_serve_every_private_subnet(count: int, zones: str) -> None:
    named = [f"us-west-2{zone}" for zone in zones]
    template = network(changes={"network": {"nat_gateways": count, "availability_zones": named}})
    gateways = {each["id"] for each in resources(template, "AWS::EC2::NatGateway")}
    assert len(gateways) == count
    private = private_subnets(template)
    assert sorted(each["Properties"]["AvailabilityZone"] for each in private) == named
    out = routes(template, "NatGatewayId")
    assert {route["NatGatewayId"]["Ref"] for route in out} == gateways
    assert {route["DestinationCidrBlock"] for route in out} == {"0.0.0.0/0"}
    assert len(out) == len(private)


def test_private_subnets_have_no_route_to_the_internet_gateway() -> None:
    template = network()
    tables = {
        each["SubnetId"]["Ref"]: each["RouteTableId"]["Ref"]
        for each in properties(template, "AWS::EC2::SubnetRouteTableAssociation")
    }
    private = {tables[each["id"]] for each in private_subnets(template)}
    assert not private & {route["RouteTableId"]["Ref"] for route in routes(template, "GatewayId")}


def test_ipv6_egress_has_one_way_out_and_none_in() -> None:
    template = network(changes=IPV6)
    for kind in ("NatGateway", "EIP", "InternetGateway", "VPCGatewayAttachment"):
        assert resources(template, f"AWS::EC2::{kind}") == []
    [way_out] = resources(template, "AWS::EC2::EgressOnlyInternetGateway")
    subnets = resources(template, "AWS::EC2::Subnet")
    assert {each["id"] for each in subnets} == {each["id"] for each in private_subnets(template)}
    assert len({each["Properties"]["AvailabilityZone"] for each in subnets}) == 2
    for subnet in subnets:
        assert subnet["Properties"]["Ipv6CidrBlock"]
        assert subnet["Properties"]["AssignIpv6AddressOnCreation"] is True
    tables = {each["id"] for each in resources(template, "AWS::EC2::RouteTable")}
    found = properties(template, "AWS::EC2::Route")
    assert {route["RouteTableId"]["Ref"] for route in found} == tables
    for route in found:
        assert route["DestinationIpv6CidrBlock"] == "::/0"
        assert route["EgressOnlyInternetGatewayId"] == {"Ref": way_out["id"]}
    out = group(template, "adapters;")["Properties"]["SecurityGroupEgress"]
    assert {rule.get("CidrIpv6") for rule in out} == {None, "::/0"}


SERVICES: list[tuple[str, Mapping[str, Any], str, set[str]]] = [
    ("fargate", {}, "dev", {"logs", "sqs", "ecr.api", "ecr.dkr"}),
    ("eks", {}, "dev", {"logs", "sqs", "ecr.api", "ecr.dkr", "ec2", "eks", "eks-auth"}),
    ("ec2", {}, "dev", {"logs", "sqs", "ssm", "ssmmessages", "autoscaling"}),
    ("agentcore", {}, "dev", {"logs"}),
    (
        "fargate",
        {},
        "prod",
        {"logs", "sqs", "ecr.api", "ecr.dkr", "lambda", "aws.sagemaker.us-west-2.mlflow"},
    ),
    (
        "agentcore",
        {},
        "prod",
        {"logs", "ecr.api", "ecr.dkr", "bedrock-agentcore", "aws.sagemaker.us-west-2.mlflow"},
    ),
    ("agentcore", {"targets": {"agentcore": {"network_mode": "public"}}}, "dev", {"logs"}),
    ("fargate", {"network": {"interface_endpoints": False}}, "prod", set()),
]


@pytest.mark.parametrize(("target", "changes", "env", "services"), SERVICES)
def test_interface_endpoints_are_those_that_the_target_and_the_job_call(
    target: str, changes: Mapping[str, Any], env: str, services: set[str]
) -> None:
    assert set(interfaces(network(target, changes, env))) == services


@pytest.mark.parametrize(("target", "changes", "env"), VARIANTS[:-1])
def test_interface_endpoints_are_private_in_every_zone_and_take_no_foreign_credentials(
    target: str, changes: Mapping[str, Any], env: str
) -> None:
    template = network(target, changes, env)
    private = {each["id"] for each in private_subnets(template)}
    account = ACCOUNT if env == "dev" else "222222222222"
    for service, endpoint in interfaces(template).items():
        assert endpoint["PrivateDnsEnabled"] is True
        assert {each["Ref"] for each in endpoint["SubnetIds"]} == private
        assert endpoint["SecurityGroupIds"] == [
            {"Fn::GetAtt": [group(template, "interface endpoints")["id"], "GroupId"]}
        ]
        if service not in ("eks", "eks-auth"):
            [statement] = endpoint["PolicyDocument"]["Statement"]
            assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": account}}


SERVED = {"prod-us-west-2-starport-layer-bucket/*", "al2023-repos-us-west-2-de612dc2/*"}
"""Of every queue target, because the one that is left goes on while the next one is deployed."""


@pytest.mark.parametrize(
    ("target", "served"),
    [
        *((target, SERVED) for target in ("fargate", "eks", "ec2")),
        ("agentcore", {"*/*"}),
    ],
)
@pytest.mark.parametrize("changes", [{}, IPV6, {"network": {"interface_endpoints": False}}])
def test_gateways_are_for_own_credentials_and_for_reading_what_aws_serves(
    target: str, served: set[str], changes: Mapping[str, Any]
) -> None:
    if target == "eks" and changes == IPV6:
        pytest.skip("refused by the settings: Pods would have no IPv6")
    template = network(target, changes)
    tables = {
        each["RouteTableId"]["Ref"]
        for each in properties(template, "AWS::EC2::SubnetRouteTableAssociation")
        if each["SubnetId"]["Ref"] in {subnet["id"] for subnet in private_subnets(template)}
    }
    own = {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}
    for service in ("s3", "dynamodb"):
        endpoint = gateway(template, service)
        assert {each["Ref"] for each in endpoint["RouteTableIds"]} == tables
        for statement in endpoint["PolicyDocument"]["Statement"]:
            if statement.get("Condition") != own:
                assert statement["Action"] == "s3:GetObject"
                named = statement["Resource"] if len(served) > 1 else [statement["Resource"]]
                assert set(named) == {f"arn:aws:s3:::{each}" for each in served}


def test_an_adopted_vpc_gets_two_groups_and_nothing_else() -> None:
    template = network(changes=ADOPTED, env="prod")
    assert {each["Type"] for each in template["Resources"].values()} == {"AWS::EC2::SecurityGroup"}
    for words in ("adapters;", "jobs;"):
        assert group(template, words)["Properties"]["VpcId"] == "vpc-0123456789abcdef0"
    values = {each["Value"] for each in template["Outputs"].values() if "Export" not in each}
    assert values == {"subnet-0aaaaaaaaaaaaaaaa us-west-2a", "subnet-0bbbbbbbbbbbbbbbb us-west-2c"}
    out = group(template, "jobs;")["Properties"]["SecurityGroupEgress"]
    assert ("udp", "0.0.0.0/0") in {(rule["IpProtocol"], rule.get("CidrIp")) for rule in out}


@pytest.mark.parametrize(
    ("env", "days", "policy"), [("dev", 14, "Delete"), ("prod", 365, "RetainExceptOnCreate")]
)
def test_all_traffic_is_logged_encrypted_and_kept_as_set(env: str, days: int, policy: str) -> None:
    template = network(env=env)
    [log] = properties(template, "AWS::EC2::FlowLog")
    [vpc] = resources(template, "AWS::EC2::VPC")
    assert (log["TrafficType"], log["ResourceId"]) == ("ALL", {"Ref": vpc["id"]})
    [group_] = resources(template, "AWS::Logs::LogGroup")
    assert log["LogGroupName"] == {"Ref": group_["id"]}
    assert group_["Properties"]["RetentionInDays"] == days
    assert group_["Properties"]["KmsKeyId"].startswith("arn:aws:kms:")
    assert group_["DeletionPolicy"] == policy


def test_the_flow_logs_role_writes_to_its_group_and_nothing_else() -> None:
    template = network()
    assert resources(template, "AWS::IAM::Policy") == []
    [policy] = properties(template, "AWS::IAM::ManagedPolicy")
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Resource"] == (
        f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:/mtrl/mtrl-dev-sop/network:*"
    )
    assert {action.split(":")[0] for action in statement["Action"]} == {"logs"}


@pytest.mark.parametrize("changes", [{}, IPV6, ADOPTED])
def test_aws_is_asked_nothing(changes: Mapping[str, Any]) -> None:
    _, manifest = cached("fargate", json.dumps(changes), "dev")
    assert "missing" not in manifest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nat_gateways": 3}, "nat_gateways (3) is above the number of zones (2)"),
        (
            {"egress": "ipv6_egress_only", "interface_endpoints": False},
            "interface_endpoints must be true with egress ipv6_egress_only",
        ),
    ],
)
def test_networks_that_cannot_work_are_refused(changes: Mapping[str, Any], message: str) -> None:
    from infra.settings import Network

    with pytest.raises(ValueError, match="Value error") as refused:
        Network.model_validate(changes)
    assert message in str(refused.value)


def test_the_deployment_has_it_behind_the_foundation(
    synthesized: Callable[[str, str], Mapping[str, Template]],
) -> None:
    stacks = synthesized("dev", "fargate")
    assert resources(stacks["network"], "AWS::EC2::VPC")
    [group_] = resources(stacks["network"], "AWS::Logs::LogGroup")
    assert "foundation" in json.dumps(group_["Properties"]["KmsKeyId"])

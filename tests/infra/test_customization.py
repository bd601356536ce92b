"""The SageMaker side: who may do what, what is adopted, and what is made instead."""

import json
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, Template, resources
from tests.infra.customization_room import (
    CATEGORIES,
    KEY,
    NOVA,
    OWN,
    PARAMETER,
    POLICY,
    RUNTIME,
    VPC,
    allowing,
    build,
    listed,
    room,
)


def test_the_job_service_alone_takes_the_job_role_and_tags_its_session() -> None:
    (trust,) = [
        statement
        for role in room().of("AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "job.sagemaker.amazonaws.com"}
    ]
    assert sorted(trust["Action"]) == ["sts:AssumeRole", "sts:TagSession"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


@pytest.mark.parametrize(
    ("target", "service", "agent"),
    [
        ("fargate", "lambda:", [f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:mtrl-dev-sop-forwarder"]),
        ("agentcore", "bedrock-agentcore:", [RUNTIME, f"{RUNTIME}/runtime-endpoint/v3"]),
    ],
)
def test_a_job_invokes_its_agent_and_nothing_else(target: str, service: str, agent: list[str]) -> None:
    invoking = [
        (action, listed(statement["Resource"]))
        for statement in room(target).statements("jobs of mtrl-dev-sop may")
        for action in listed(statement["Action"])
        if "nvoke" in action or action.startswith(service)
    ]
    assert all(action.startswith(service) and resource == agent for action, resource in invoking)
    assert invoking


@pytest.mark.parametrize("custom", [{}, VPC], ids=["", "vpc"])
def test_only_what_knows_no_resources_is_allowed_on_all(custom: dict[str, Any]) -> None:
    actions = [
        action
        for policy in room(**custom).of(POLICY)
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        if "*" in listed(statement["Resource"])
    ]
    describe = ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")
    lists = ("DescribeJobSchemaVersion", "ListJobSchemaVersions", "ListJobs")
    assert sorted(actions) == [f"ec2:Describe{what}" for what in describe if custom] + [
        f"sagemaker:{action}" for action in lists
    ]


def test_interfaces_are_made_in_the_jobs_subnets_alone() -> None:
    assert not [s for s in room().statements("jobs of mtrl-dev-sop may") if "ec2:" in str(s["Action"])]
    statements = room(**VPC).statements("jobs of mtrl-dev-sop may")
    ec2 = f"arn:aws:ec2:us-west-2:{ACCOUNT}"
    (create,) = allowing(statements, "ec2:CreateNetworkInterface")
    expected = {
        "network-interface/*",
        "security-group/sg-0123456789abcdef0",
        "subnet/subnet-0123456789abcdef0",
    }
    assert set(create["Resource"]) == {f"{ec2}:{resource}" for resource in expected}
    for action in ("CreateNetworkInterfacePermission", "DeleteNetworkInterface"):
        (use,) = allowing(statements, f"ec2:{action}")
        assert set(use["Condition"]["ArnEquals"]["ec2:Subnet"]) == {f"{ec2}:subnet/subnet-0123456789abcdef0"}


def test_callers_start_jobs_of_the_prefix_with_the_role_and_the_key() -> None:
    made = room()
    statements = made.statements("start and stop jobs")
    jobs = {f"{OWN}:job/{category}/{made.output('JobNamePrefix')}*" for category in CATEGORIES.values()}
    (create,) = allowing(statements, "sagemaker:CreateJob")
    assert create["Condition"] == {"ArnEquals": {"sagemaker:OutputKmsKeyArn": KEY}}
    for action in ("CreateJob", "DescribeJob", "StopJob", "DeleteJob"):
        (statement,) = allowing(statements, f"sagemaker:{action}")
        assert set(statement["Resource"]) == jobs
    (pass_role,) = allowing(statements, "iam:PassRole")
    assert pass_role["Resource"] == made.output("JobRoleArn")
    assert pass_role["Condition"] == {"StringEquals": {"iam:PassedToService": "job.sagemaker.amazonaws.com"}}
    (grant,) = allowing(statements, "kms:CreateGrant")
    assert grant["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    (look,) = allowing(statements, "kms:DescribeKey")
    assert "Condition" not in look, "GrantIsForAWSResource is not sent with it"
    (read,) = allowing(statements, "ssm:GetParameter")
    written = {
        f"arn:aws:ssm:us-west-2:{ACCOUNT}:parameter{p['Properties']['Name']}" for p in made.of(PARAMETER)
    }
    assert set(read["Resource"]) == written
    uploads = {listed(statement["Resource"])[0] for statement in allowing(statements, "s3:PutObject")}
    for kind in CATEGORIES:
        for channel in made.document(kind)["InputDataConfig"]:
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            assert f"arn:aws:s3:::{uri.removeprefix('s3://')}*" in uploads


@pytest.mark.parametrize(
    ("setting", "arn", "kind", "mark"),
    [
        (
            "job_role_arn",
            f"arn:aws:iam::{ACCOUNT}:role/theirs",
            "AWS::IAM::Role",
            "job.sagemaker.amazonaws.com",
        ),
        ("mlflow_app_arn", f"{OWN}:mlflow-app/app-THEIRS", "AWS::SageMaker::MlflowApp", ""),
        ("mlflow_app_arn", f"{OWN}:mlflow-app/app-THEIRS", "AWS::IAM::Role", '"sagemaker.amazonaws.com'),
        ("output_group_arn", f"{OWN}:model-package-group/t", "AWS::SageMaker::ModelPackageGroup", "-models"),
        (
            "intermediate_group_arn",
            f"{OWN}:model-package-group/t",
            "AWS::SageMaker::ModelPackageGroup",
            "-checkpoints",
        ),
    ],
)
def test_what_is_adopted_is_not_made(setting: str, arn: str, kind: str, mark: str) -> None:
    def made(template: Template) -> list[Any]:
        return [each for each in resources(template, kind) if mark in json.dumps(each)]

    adopting = room(**{setting: arn})
    assert made(room().template), "the mark finds what is created otherwise"
    assert not made(adopting.template)
    assert arn in json.dumps(adopting.document("training")) or arn == adopting.output("JobRoleArn")


def test_packages_of_an_adopted_group_are_the_jobs_too() -> None:
    adopting = room(output_group_arn=f"{OWN}:model-package-group/t")
    (models,) = allowing(adopting.statements("jobs of mtrl-dev-sop may"), "sagemaker:CreateModelPackage")
    assert {f"{OWN}:model-package-group/t", f"{OWN}:model-package/t/*"} < set(models["Resource"])


def test_everything_adopted_makes_no_sagemaker_resource_and_no_role_but_the_functions() -> None:
    arns: dict[str, Any] = {
        f"{kind}_group_arn": f"{OWN}:model-package-group/{kind}" for kind in ("output", "intermediate")
    }
    adopting = room(
        **arns,
        job_role_arn=f"arn:aws:iam::{ACCOUNT}:role/theirs",
        mlflow_app_arn=f"{OWN}:mlflow-app/app-THEIRS",
        caller_policy=False,
    )
    kinds = {resource["Type"] for resource in adopting.template["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::SageMaker")]
    assert {
        statement["Principal"]["Service"]
        for role in adopting.of("AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    } == {"lambda.amazonaws.com"}
    assert "JobCallerPolicyArn" not in adopting.template["Outputs"]


def test_nova_gets_restricted_groups() -> None:
    made = room(**NOVA)
    assert not made.of("AWS::SageMaker::ModelPackageGroup")
    restricted = made.of("Custom::MtrlRestrictedModelPackageGroup")
    arns = {f"{OWN}:model-package-group/{each['Properties']['Name']}" for each in restricted}
    assert arns == set(made.document("training")["ModelPackageConfig"].values())
    assert {each["Properties"]["Retain"] for each in restricted} == {"false"}
    (statement,) = allowing(
        made.statements("mtrl-dev-sop-model-package-groups may"), "sagemaker:CreateModelPackageGroup"
    )
    assert set(statement["Resource"]) == arns


def test_shared_log_groups_are_adjusted_and_the_runtimes_own_ones_set() -> None:
    (shared,) = room().of("Custom::MtrlLogGroups")
    expected = {
        "LogGroups": ["/aws/sagemaker/Job/AgentRFT"],
        "RetentionDays": 14,
        "KmsKeyArn": KEY,
        "Own": "false",
    }
    assert expected.items() <= shared["Properties"].items()
    groups = room("agentcore").of("Custom::MtrlLogGroups")
    (own,) = [each["Properties"] for each in groups if each["Properties"]["Own"] == "true"]
    runtime = f"/aws/bedrock-agentcore/runtimes/{RUNTIME.split('/')[1]}"
    assert own["LogGroups"] == [f"{runtime}-v3"]
    assert runtime.startswith(own["Prefixes"][0])


@pytest.mark.parametrize(("target", "custom"), [("fargate", NOVA), ("agentcore", VPC)], ids=["nova", "vpc"])
def test_the_packs_find_nothing_that_nobody_accepted(target: str, custom: dict[str, Any]) -> None:
    build(target, custom, packs=True)  # raises otherwise

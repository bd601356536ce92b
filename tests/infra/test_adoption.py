"""What a platform team already has is adopted: the deployment makes none of it, and looks nothing up."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.conftest import Templates, everywhere, synthesize

ACCOUNT = "arn:aws:{}:us-west-2:111111111111:{}"
KEY = ACCOUNT.format("kms", "key/12345678-1234-1234-1234-123456789012")
TOPIC = ACCOUNT.format("sns", "platform-notices")
MLFLOW = ACCOUNT.format("sagemaker", "mlflow-app/app-1234")
GROUPS = [ACCOUNT.format("sagemaker", f"model-package-group/{noun}") for noun in ("ours", "ours-between")]
ROLE = "arn:aws:iam::111111111111:role/platform-job"
VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "private_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "availability_zones": ["us-west-2a", "us-west-2b"],
}
BUCKETS = {
    noun: f"platform-{noun.replace('_', '-')}"
    for noun in ("prompts", "outputs", "transcripts", "rollout_logs", "access_logs")
}
IMAGE = "111111111111.dkr.ecr.us-west-2.amazonaws.com/platform/adapter:1.2.3"

ADOPTIONS: dict[str, tuple[Mapping[str, Any], tuple[str, ...], str]] = {
    "key": ({"foundation": {"key_arn": KEY}}, ("AWS::KMS::Key", "AWS::KMS::Alias"), KEY),
    "topic": ({"foundation": {"topic_arn": TOPIC}}, ("AWS::SNS::Topic",), TOPIC),
    "ledger": (
        {"foundation": {"ledger_table": "platform-ledger"}},
        ("AWS::DynamoDB::Table",),
        "table/platform-ledger",
    ),
    "buckets": ({"foundation": {"buckets": BUCKETS}}, ("AWS::S3::Bucket",), "platform-rollout-logs"),
    "vpc": (
        {"network": VPC},
        ("AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::NatGateway", "AWS::EC2::VPCEndpoint"),
        VPC["vpc_id"],  # type: ignore[dict-item]
    ),
    "cluster": (
        {"targets": {"fargate": {"cluster_name": "platform"}}},
        ("AWS::ECS::Cluster",),
        "platform",
    ),
    "image": ({"adapter": {"image_uri": IMAGE}}, (), IMAGE),
    "job role": ({"customization": {"job_role_arn": ROLE}}, (), ROLE),
    "mlflow": ({"customization": {"mlflow_app_arn": MLFLOW}}, ("AWS::SageMaker::MlflowApp",), MLFLOW),
    "groups": (
        {"customization": {"output_group_arn": GROUPS[0], "intermediate_group_arn": GROUPS[1]}},
        ("AWS::SageMaker::ModelPackageGroup",),
        GROUPS[1],
    ),
}


def merged(changes: list[Mapping[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for change in changes:
        for name, value in change.items():
            whole[name] = {**whole.get(name, {}), **value}
    return whole


def gone(templates: Templates, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        assert not everywhere(templates, kind), kind


@pytest.mark.parametrize("noun", ADOPTIONS)
def test_one_thing_is_adopted(noun: str) -> None:
    changes, kinds, reference = ADOPTIONS[noun]
    templates = synthesize("dev", "fargate", changes)
    gone(templates, kinds)
    assert reference in str(templates), "what is adopted is used"


def test_everything_is_adopted() -> None:
    templates = synthesize("prod", "fargate", merged([changes for changes, _, _ in ADOPTIONS.values()]))
    for _, kinds, _ in ADOPTIONS.values():
        gone(templates, kinds)
    jobs = [role for role in everywhere(templates, "AWS::IAM::Role") if "job.sagemaker" in str(role)]
    assert not jobs


def test_an_image_outside_of_ecr_needs_no_permission_to_be_pulled() -> None:
    changes = {"adapter": {"image_uri": "registry.example.com/team/adapter@sha256:" + "0" * 64}}
    templates = synthesize("dev", "fargate", changes)
    assert "ecr:" not in str(templates["adapter-fargate"])
    mine = synthesize("dev", "fargate", {"adapter": {"image_uri": IMAGE}})
    assert "repository/platform/adapter" in str(mine["adapter-fargate"])

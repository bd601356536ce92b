"""What holds for every shipped deployment, whatever its environment and target."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.contract.variables import BY_NAME, VARIABLES
from tests.infra.conftest import ACCOUNT, SHIPPED, Templates, everywhere, resources
from tests.infra.test_ec2 import first_start, variables

Synthesized = Callable[[str, str], Templates]
ROOT = Path(__file__).parents[2]
ACCOUNTS = {"dev": ACCOUNT, "prod": "222222222222"}
deployments = pytest.mark.parametrize(("env", "target"), SHIPPED)
queued = pytest.mark.parametrize(("env", "target"), [pair for pair in SHIPPED if pair[1] != "agentcore"])


def statements(templates: Templates) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every IAM statement of a role or a policy, with the description of what carries it."""
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        for found in everywhere(templates, kind):
            for statement in found["Properties"]["PolicyDocument"]["Statement"]:
                yield found["Properties"].get("Description", found["id"]), statement
    for found in everywhere(templates, "AWS::IAM::Role"):
        for policy in found["Properties"].get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield found["id"], statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policy_of(templates: Templates, description: str) -> list[dict[str, Any]]:
    found = [s for carrier, s in statements(templates) if carrier == description]
    assert found, f"no policy is described as {description!r}"
    return found


@deployments
def test_nothing_can_be_connected_to(synthesized: Synthesized, env: str, target: str) -> None:
    templates = synthesized(env, target)
    for group in everywhere(templates, "AWS::EC2::SecurityGroup"):
        for rule in group["Properties"].get("SecurityGroupIngress", ()):
            assert (rule["FromPort"], rule["ToPort"]) == (443, 443)
            assert "SourceSecurityGroupId" in rule
            assert "CidrIp" not in rule
    for rule in everywhere(templates, "AWS::EC2::SecurityGroupIngress"):
        properties = rule["Properties"]
        assert (properties["FromPort"], properties["ToPort"]) == (443, 443)
        assert "SourceSecurityGroupId" in properties
    assert not everywhere(templates, "AWS::ElasticLoadBalancingV2::LoadBalancer")


@deployments
def test_no_workload_has_a_public_address(synthesized: Synthesized, env: str, target: str) -> None:
    templates = synthesized(env, target)
    for subnet in everywhere(templates, "AWS::EC2::Subnet"):
        assert not subnet["Properties"].get("MapPublicIpOnLaunch")
    for service in everywhere(templates, "AWS::ECS::Service"):
        network = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
    for template in everywhere(templates, "AWS::EC2::LaunchTemplate"):
        for interface in template["Properties"]["LaunchTemplateData"].get("NetworkInterfaces", ()):
            assert not interface.get("AssociatePublicIpAddress")
    for runtime in everywhere(templates, "AWS::BedrockAgentCore::Runtime"):
        assert runtime["Properties"]["NetworkConfiguration"]["NetworkMode"] == "VPC"


@deployments
def test_no_statement_allows_all_actions_of_a_service(
    synthesized: Synthesized, env: str, target: str
) -> None:
    """Single wildcards are for the packs, which ask a written reason of each."""
    for carrier, statement in statements(synthesized(env, target)):
        for action in listed(statement["Action"]):
            assert action != "*", carrier
            assert not action.endswith(":*"), f"{carrier}: {action}"
        assert "NotAction" not in statement
        assert "NotResource" not in statement


@deployments
def test_the_key_knows_every_service_that_uses_it_and_no_other(
    synthesized: Synthesized, env: str, target: str
) -> None:
    templates = synthesized(env, target)
    [key] = everywhere(templates, "AWS::KMS::Key")
    assert key["Properties"]["EnableKeyRotation"] is True
    assert key["Properties"].get("MultiRegion") is False
    principals = {
        name: statement
        for statement in key["Properties"]["KeyPolicy"]["Statement"]
        for name in listed(statement["Principal"].get("Service", []))
    }
    assert set(principals) == {"logs.us-west-2.amazonaws.com", "cloudwatch.amazonaws.com"}
    assert everywhere(templates, "AWS::Logs::LogGroup")
    assert "kms:EncryptionContext:aws:logs:arn" in json.dumps(principals["logs.us-west-2.amazonaws.com"])
    assert everywhere(templates, "AWS::SNS::Topic"), "alarms publish there"
    # A rule that sent to topic or queue would need the key too.
    functions = {function["id"] for function in everywhere(templates, "AWS::Lambda::Function")}
    for rule in everywhere(templates, "AWS::Events::Rule"):
        for each in rule["Properties"]["Targets"]:
            assert each["Arn"]["Fn::GetAtt"][0] in functions
    for name, statement in principals.items():
        assert statement.get("Condition"), f"{name} may use the key for anybody"


@deployments
def test_every_log_group_has_retention_and_key(synthesized: Synthesized, env: str, target: str) -> None:
    groups = everywhere(synthesized(env, target), "AWS::Logs::LogGroup")
    assert groups
    for group in groups:
        assert group["Properties"]["RetentionInDays"] == {"dev": 14, "prod": 365}[env]
        assert group["Properties"]["KmsKeyId"]


@deployments
def test_every_alarm_has_an_action_and_a_runbook(synthesized: Synthesized, env: str, target: str) -> None:
    """An alarm that scales needs no runbook: it wakes nobody."""
    alarms = everywhere(synthesized(env, target), "AWS::CloudWatch::Alarm")
    assert alarms
    for alarm in alarms:
        properties = alarm["Properties"]
        assert properties["AlarmActions"], properties["AlarmName"]
        if "sns" in json.dumps(properties["AlarmActions"]):
            runbook = properties["AlarmDescription"].rsplit(" ", 1)[-1].rstrip(".")
            assert runbook.startswith("docs/runbooks/")
            assert (ROOT / runbook).exists(), runbook
        else:
            assert "scale" in properties["AlarmName"]


@deployments
def test_alarms_may_publish_to_the_topic(synthesized: Synthesized, env: str, target: str) -> None:
    [policy] = everywhere(synthesized(env, target), "AWS::SNS::TopicPolicy")
    allowed = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
    assert [(s["Principal"], s["Action"]) for s in allowed] == [
        ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    ]
    assert allowed[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNTS[env]}


@deployments
def test_an_adapter_calls_its_own_jobs_alone(synthesized: Synthesized, env: str, target: str) -> None:
    name = f"mtrl-{env}-sop"
    found = policy_of(synthesized(env, target), f"What the adapter of {name} may do")
    [runtime] = [s for s in found if "sagemaker:Sample" in listed(s["Action"])]
    assert sorted(listed(runtime["Action"])) == [
        "sagemaker:CompleteRollout",
        "sagemaker:Sample",
        "sagemaker:SampleWithResponseStream",
        "sagemaker:UpdateReward",
    ]
    begin = f"arn:aws:sagemaker:us-west-2:{ACCOUNTS[env]}:job"
    assert sorted(runtime["Resource"]) == [
        f"{begin}/AgentRFT/{name}-*",
        f"{begin}/AgentRFTEvaluation/{name}-*",
    ]
    others = {action for s in found if s is not runtime for action in listed(s["Action"])}
    assert {action for action in others if action.startswith("sagemaker:")} == {
        "sagemaker:CallWithBearerToken"
    }


@queued
def test_the_forwarder_only_enqueues(synthesized: Synthesized, env: str, target: str) -> None:
    name = f"mtrl-{env}-sop"
    found = policy_of(synthesized(env, target), f"What {name}-forwarder may do")
    actions = {action for statement in found for action in listed(statement["Action"])}
    assert actions == {
        "sqs:SendMessage",
        "s3:PutObject",
        "kms:GenerateDataKey",
        "kms:Decrypt",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    [send] = [s for s in found if "sqs:SendMessage" in listed(s["Action"])]
    assert send["Resource"] == f"arn:aws:sqs:us-west-2:{ACCOUNTS[env]}:{name}-rollouts"
    [put] = [s for s in found if "s3:PutObject" in listed(s["Action"])]
    assert put["Resource"].endswith("/claim-checks/*")


KEPT = {"dev": "Delete", "prod": "RetainExceptOnCreate"}
STATEFUL = (
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::Logs::LogGroup",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::MlflowApp",
)


@deployments
def test_production_keeps_what_it_holds(synthesized: Synthesized, env: str, target: str) -> None:
    templates = synthesized(env, target)
    for kind in STATEFUL:
        found = everywhere(templates, kind)
        assert found, kind
        for resource in found:
            assert resource.get("DeletionPolicy") == KEPT[env], resource["id"]
            assert resource.get("UpdateReplacePolicy") == {"dev": "Delete", "prod": "Retain"}[env]


@deployments
def test_a_creation_that_fails_leaves_nothing_with_a_name(
    synthesized: Synthesized, env: str, target: str
) -> None:
    """What stays behind would be in the way of the next attempt: "already exists"."""
    for template in synthesized(env, target).values():
        assert "Retain" not in {each.get("DeletionPolicy") for each in template["Resources"].values()}


@deployments
def test_what_resists_deletion_is_created_last(synthesized: Synthesized, env: str, target: str) -> None:
    template = synthesized(env, target)["foundation"]
    [ledger] = resources(template, "AWS::DynamoDB::Table")
    assert ledger["Properties"]["DeletionProtectionEnabled"] is (env == "prod")
    assert set(ledger["DependsOn"]) == set(template["Resources"]) - {ledger["id"]}


@deployments
def test_buckets_are_closed_versioned_and_tls_only(synthesized: Synthesized, env: str, target: str) -> None:
    templates = synthesized(env, target)
    buckets = resources(templates["foundation"], "AWS::S3::Bucket")
    policies = json.dumps(resources(templates["foundation"], "AWS::S3::BucketPolicy"))
    assert buckets
    for bucket in buckets:
        properties = bucket["Properties"]
        assert all(properties["PublicAccessBlockConfiguration"].values())
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        assert properties["LifecycleConfiguration"]["Rules"]
        assert bucket["id"] in policies
    assert policies.count('"aws:SecureTransport": "false"') == len(buckets)


@pytest.mark.parametrize(
    ("noun", "days", "later"),
    [("rollout-logs", 7, 1), ("transcripts", 90, 30), ("prompts", None, 30), ("access-logs", 365, 30)],
)
def test_what_has_expired_is_gone_when_the_settings_say(
    synthesized: Synthesized, noun: str, days: int | None, later: int
) -> None:
    """In a versioned bucket an object that expires is only hidden, by a marker, and then is a version."""
    buckets = resources(synthesized("prod", "fargate")["foundation"], "AWS::S3::Bucket")
    [rules] = [
        each["Properties"]["LifecycleConfiguration"]["Rules"]
        for each in buckets
        if f"-{noun}-" in each["Properties"]["BucketName"]
    ]
    assert [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule] == (
        [days] if days else []
    )
    versions = [rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules[:1]]
    assert versions == [later]
    assert any(rule.get("ExpiredObjectDeleteMarker") for rule in rules)
    assert not any("Prefix" in rule for rule in rules), "whatever the object's key is"


def environment(templates: Templates, env: str, target: str) -> dict[str, str]:
    """The variables that the adapter is started with, as the target carries them."""
    template = templates[f"adapter-{target}"]
    if target == "fargate":
        [task] = resources(template, "AWS::ECS::TaskDefinition")
        [container] = task["Properties"]["ContainerDefinitions"]
        return {pair["Name"]: pair["Value"] for pair in container["Environment"]}
    if target == "ec2":
        return variables(first_start(templates), "/etc/mtrl/adapter.env")
    if target == "agentcore":
        [runtime] = resources(template, "AWS::BedrockAgentCore::Runtime")
        return dict(runtime["Properties"]["EnvironmentVariables"])
    return carried(template, target)


def carried(template: dict[str, Any], target: str) -> dict[str, str]:
    """EKS carries them inside of a manifest: the names that stand in it."""
    text = json.dumps(template)
    return {variable.name: "" for variable in VARIABLES if variable.name in text}


@deployments
def test_the_adapter_gets_every_variable_that_it_requires(
    synthesized: Synthesized, env: str, target: str
) -> None:
    found = environment(synthesized(env, target), env, target)
    entrypoint = "http" if target == "agentcore" else "queue"
    required = {variable.name for variable in VARIABLES if entrypoint in variable.required_by}
    assert required <= set(found), required - set(found)
    assert set(found) <= set(BY_NAME)
    assert {"MTRL_ACCOUNT_ID", "MTRL_JOB_NAME_PREFIX"} <= set(found), "foreign jobs must be refused"


@deployments
def test_the_adapter_would_start_with_its_variables(synthesized: Synthesized, env: str, target: str) -> None:
    from adapters.runtime.settings import QueueSettings, Settings

    if target == "eks":
        pytest.skip("the manifest is read by the tests of the target")
    found = environment(synthesized(env, target), env, target)
    settings = Settings.from_environ(found)
    assert settings.job_name_prefix == f"mtrl-{env}-sop-"
    if target != "agentcore":
        queue = QueueSettings.from_environ(found)
        assert queue.queue_url.endswith(f"{ACCOUNTS[env]}/mtrl-{env}-sop-rollouts")
        # Of every shipped environment some workers are on Spot, which gives notice so long before.
        assert settings.drain + 15 <= 120


@deployments
def test_synthesis_is_pure(synthesized: Synthesized, env: str, target: str) -> None:
    """Nothing had to be looked up: a missing context would be asked of AWS by the CLI."""
    assert synthesized(env, target)

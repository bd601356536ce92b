"""The role that a job runs as: the two buckets, the model packages, MLflow, and one agent.

`AmazonSageMakerJobFullAccess` allows the same actions, on everything in the account.
"""

from collections.abc import Mapping

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.customization.documents import PUBLIC_HUB, Parts
from infra.names import Names
from infra.policy.roles import role
from infra.policy.statements import allow, key_use, objects

SERVICE = "job.sagemaker.amazonaws.com"
LOG_GROUPS = "/aws/sagemaker/Job/AgentRFT*"
TRACKING = (
    "CreateExperiment",
    "CreateRun",
    "UpdateRun",
    "LogBatch",
    "GetExperimentByName",
    "GetMetricHistory",
    "GetRun",
    "StartTrace",
    "EndTrace",
    "SearchTraces",
    "ListArtifacts",
)


def job_role(scope: Construct, parts: Parts) -> str:
    """The ARN of the adopted role, or of a new one."""
    adopted = parts.settings.customization.job_role_arn
    if adopted is not None:
        return adopted
    network = _network(parts) if parts.subnets else []
    made = role(
        scope,
        "JobRole",
        # With its own account alone: that the service sends `aws:SourceArn` when it assumes the role is
        # documented nowhere, and a condition on a missing key refuses every job.
        trusted=iam.ServicePrincipal(
            SERVICE, conditions={"StringEquals": {"aws:SourceAccount": parts.settings.account}}
        ).with_session_tags(),
        description=f"What the jobs of {parts.settings.name} may do",
        statements=[*_data(parts), *_models(parts), *_tracking(parts), _invoke(parts), *network],
        wildcards=dict(_wildcards(parts)),
    )
    return made.role_arn


def group_packages(group_arn: str) -> str:
    """The packages of a model package group, as a resource."""
    return f"{group_arn.replace(':model-package-group/', ':model-package/')}/*"


def _data(parts: Parts) -> list[iam.PolicyStatement]:
    names = parts.names
    buckets = [names.bucket_arn("prompts"), names.bucket_arn("outputs")]
    return [
        allow("List", ["s3:ListBucket"], buckets),
        objects("ReadPrompts", ["GetObject"], names, "prompts"),
        objects("ReadAndWriteOutputs", ["GetObject", "PutObject"], names, "outputs"),
        key_use("Key", parts.key_arn, names, ["s3"], ["Decrypt", "GenerateDataKey"]),
        allow("LookAtKey", ["kms:DescribeKey"], [parts.key_arn]),
        allow(
            "Logs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            [_log_groups(names)],
        ),
    ]


def _models(parts: Parts) -> list[iam.PolicyStatement]:
    groups = [parts.output_group_arn, parts.intermediate_group_arn]
    packages = [group_packages(group) for group in groups]
    actions = (
        "AccessModelPackage",
        "CreateModelPackage",
        "DescribeModelPackage",
        "DescribeModelPackageGroup",
    )
    return [
        allow("BaseModel", ["sagemaker:DescribeHubContent"], _hub(parts.names)),
        allow("ModelPackages", [f"sagemaker:{action}" for action in actions], [*groups, *packages]),
    ]


def _tracking(parts: Parts) -> list[iam.PolicyStatement]:
    actions = ["sagemaker:DescribeMlflowApp", "sagemaker:CallMlflowAppApi"]
    actions += [f"sagemaker-mlflow:{action}" for action in TRACKING]
    return [allow("Mlflow", actions, [parts.mlflow_arn])]


def _invoke(parts: Parts) -> iam.PolicyStatement:
    agent = parts.agent
    if agent.runtime_arn is None:
        return allow("InvokeAgent", ["lambda:InvokeFunction"], [str(agent.forwarder_arn)])
    resources = [agent.runtime_arn]
    if agent.endpoint is not None:
        resources.append(f"{agent.runtime_arn}/runtime-endpoint/{agent.endpoint}")
    actions = ("InvokeAgentRuntime", "StopRuntimeSession", "GetAgentRuntime")
    return allow("InvokeAgent", [f"bedrock-agentcore:{action}" for action in actions], resources)


def _network(parts: Parts) -> list[iam.PolicyStatement]:
    """The service puts network interfaces of its own into the job's subnets."""
    names, interfaces = parts.names, _interfaces(parts.names)
    subnets = [names.arn("ec2", f"subnet/{subnet}") for subnet in parts.subnets]
    groups = [names.arn("ec2", f"security-group/{group}") for group in parts.security_groups]
    describe = ("NetworkInterfaces", "Vpcs", "Subnets", "SecurityGroups", "DhcpOptions")
    there = {"ArnEquals": {"ec2:Subnet": subnets}}
    return [
        allow("CreateInterfaces", ["ec2:CreateNetworkInterface"], [*subnets, *groups, interfaces]),
        allow(
            "UseInterfaces",
            [
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            [interfaces],
            **there,
        ),
        allow(
            "TagNewInterfaces",
            ["ec2:CreateTags"],
            [interfaces],
            StringEquals={"ec2:CreateAction": "CreateNetworkInterface"},
        ),
        allow("LookAtNetwork", [f"ec2:Describe{what}" for what in describe], ["*"]),
    ]


def _log_groups(names: Names) -> str:
    return names.arn("logs", f"log-group:{LOG_GROUPS}")


def _interfaces(names: Names) -> str:
    return names.arn("ec2", "network-interface/*")


def _hub(names: Names) -> list[str]:
    hub = f"arn:{names.partition}:sagemaker:{names.settings.region}:aws"
    return [f"{hub}:hub/{PUBLIC_HUB}", f"{hub}:hub-content/{PUBLIC_HUB}/*"]


def _wildcards(parts: Parts) -> Mapping[str, str]:
    """The reason for each `*` above."""
    names = parts.names
    logs = _log_groups(names)
    groups = (parts.output_group_arn, parts.intermediate_group_arn)
    found = {
        f"{names.bucket_arn('prompts')}/*": "The prompts: objects that data sets are made of, read only.",
        f"{names.bucket_arn('outputs')}/*": "Artifacts are below the name of a job, given at its start.",
        _hub(names)[1]: "Public content, read only; a hub content's ARN ends in a version that is not ours.",
        **{group_packages(group): "The versions of one group, numbered as jobs end." for group in groups},
        logs: "One group a job category, named by the service for the whole account, and streams.",
    }
    if parts.subnets:
        found[_interfaces(names)] = (
            "The id of an interface is made up by EC2; subnets, security groups and the subnet condition "
            "bound it."
        )
        found["*"] = "EC2's Describe actions know no resources."
    return found

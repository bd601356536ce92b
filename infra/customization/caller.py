"""What whoever starts jobs needs, as a managed policy to attach to people and pipelines."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.customization.documents import Parts
from infra.customization.job_role import SERVICE
from infra.policy.acknowledgments import acknowledge_wildcards
from infra.policy.statements import allow, key_use, objects

CHANNELS = ("train/", "validation/", "evaluation/")


def caller_policy(
    scope: Construct, parts: Parts, *, job_role_arn: str, parameters: Sequence[str]
) -> iam.ManagedPolicy:
    """`<name>-job-caller`: jobs of this deployment, with its role and its key, and no others."""
    names = parts.names
    policy = iam.ManagedPolicy(
        scope,
        "JobCaller",
        managed_policy_name=f"{parts.settings.name}-job-caller",
        description=f"Upload prompts, start and stop jobs of {parts.settings.name}",
        statements=[*_jobs(parts, job_role_arn), *_key(parts), *_files(parts, parameters)],
    )
    reasons = dict.fromkeys(names.jobs, "Jobs are named at their start; the deployment's prefix bounds them.")
    reasons |= {
        f"{names.bucket_arn('prompts')}/{channel}*": "The files of a data set, by channel."
        for channel in CHANNELS
    }
    acknowledge_wildcards(
        policy, reasons | {"*": "ListJobs and the two schema actions know no resources; they only read."}
    )
    return policy


def _jobs(parts: Parts, job_role_arn: str) -> list[iam.PolicyStatement]:
    jobs = parts.names.jobs
    return [
        # Only with the deployment's key: a document without it would leave the outputs to another one.
        allow(
            "StartJobs",
            ["sagemaker:CreateJob"],
            jobs,
            ArnEquals={"sagemaker:OutputKmsKeyArn": parts.key_arn},
        ),
        allow("Jobs", ["sagemaker:DescribeJob", "sagemaker:StopJob", "sagemaker:DeleteJob"], jobs),
        allow(
            "ListJobs",
            ["sagemaker:ListJobs", "sagemaker:ListJobSchemaVersions", "sagemaker:DescribeJobSchemaVersion"],
            ["*"],
        ),
        allow(
            "PassJobRole",
            ["iam:PassRole"],
            [job_role_arn],
            StringEquals={"iam:PassedToService": SERVICE},
        ),
    ]


def _key(parts: Parts) -> list[iam.PolicyStatement]:
    """The service takes grants on the key, in the caller's name, when a job is started."""
    via = f"sagemaker.{parts.settings.region}.amazonaws.com"
    return [
        allow(
            "GrantKeyToJobs",
            ["kms:CreateGrant"],
            [parts.key_arn],
            Bool={"kms:GrantIsForAWSResource": "true"},
            StringEquals={"kms:ViaService": via},
        ),
        # Apart: GrantIsForAWSResource is not sent with DescribeKey, and a missing key does not match.
        allow("LookAtKey", ["kms:DescribeKey"], [parts.key_arn]),
    ]


def _files(parts: Parts, parameters: Sequence[str]) -> list[iam.PolicyStatement]:
    names = parts.names
    return [
        allow("ReadDocuments", ["ssm:GetParameter", "ssm:GetParameters"], parameters),
        *(
            objects(
                f"Upload{channel.title().rstrip('/')}", ["GetObject", "PutObject"], names, "prompts", channel
            )
            for channel in CHANNELS
        ),
        allow("ListPrompts", ["s3:ListBucket"], [names.bucket_arn("prompts")]),
        key_use("EncryptPrompts", parts.key_arn, names, ["s3"], ["Decrypt", "GenerateDataKey"]),
    ]

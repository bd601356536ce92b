"""Assembles the SageMaker side of a deployment around one set of ARNs."""

from pathlib import Path

from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.customization.caller import caller_policy
from infra.customization.documents import Parts, evaluation, training
from infra.customization.groups import groups
from infra.customization.job_role import job_role
from infra.customization.log_groups import log_groups
from infra.customization.publication import parameter_arn, publish
from infra.customization.tracking import mlflow_app
from infra.network import Network
from infra.settings import Deployment
from infra.targets.contract import Agent

KINDS = {"training": training, "evaluation": evaluation}


class Customization(Construct):
    """Model package groups, MLflow app, job role, caller policy, log groups, job documents."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Deployment,
        key: kms.IKey,
        agent: Agent,
        network: Network,
        root: Path,
    ) -> None:
        super().__init__(scope, "Customization")
        made = groups(self, settings, key, root)
        in_vpc = settings.customization.job_in_vpc
        self.parts = Parts(
            settings=settings,
            agent=agent,
            key_arn=key.key_arn,
            mlflow_arn=mlflow_app(self, settings, key),
            output_group_arn=made.output,
            intermediate_group_arn=made.intermediate,
            subnets=tuple(subnet.subnet_id for subnet in network.subnets) if in_vpc else (),
            security_groups=(network.job_group.security_group_id,) if in_vpc else (),
        )
        self.job_role_arn = job_role(self, self.parts)
        log_groups(self, settings, agent, key, root)
        outputs = {
            "JobRoleArn": self.job_role_arn,
            "JobNamePrefix": settings.job_prefix,
            "OutputModelPackageGroupArn": made.output,
            "IntermediateCheckpointModelPackageGroupArn": made.intermediate,
            "MlflowAppArn": self.parts.mlflow_arn,
        }
        if settings.customization.caller_policy:
            parameters = [parameter_arn(settings, kind) for kind in KINDS]
            policy = caller_policy(self, self.parts, job_role_arn=self.job_role_arn, parameters=parameters)
            outputs["JobCallerPolicyArn"] = policy.managed_policy_arn
        publish(self, settings, {kind: document(self.parts) for kind, document in KINDS.items()}, outputs)

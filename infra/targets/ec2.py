"""EC2: an Auto Scaling group of arm64 instances, each with one worker under systemd. Nothing listens.

The bundle comes from S3, where `cdk deploy` put it. A drain daemon on the instance (adapters/packages/ec2)
stops the worker when the group or Spot takes the instance, and lets the group go on when the worker is gone.
"""

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra.log_group import log_group
from infra.policy.acknowledgments import HIPAA, NIST, SOLUTIONS, acknowledge, acknowledge_in
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.policy.worker import worker_statements, worker_wildcards
from infra.target_settings import HOOK_SPARE_SECONDS, Ec2
from infra.targets.backlog import idle_alarm, steps, waiting_alarm
from infra.targets.contract import Agent, Site
from infra.targets.image import BOOTSTRAP_QUALIFIER
from infra.targets.user_data import user_data

AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
BOOT = cdk.Duration.minutes(10)
"""From the launch to the worker: packages are installed in between."""
STARTING, ENDING = "start", "drain"


def place(scope: Construct, site: Site, target: Ec2) -> Agent:
    """Bundle, launch template, group and scaling."""
    logs = log_group(scope, "Logs", name=site.names.adapter_log_group, settings=site.settings, key=site.key)
    bundle = assets.Asset(scope, "Bundle", path=str(site.staged("ec2")))
    group = _group(scope, site, target, _template(scope, site, target, bundle))
    # By name alone the log group could come after the first instances, and go before their last words.
    group.node.add_dependency(logs)
    _scale(scope, site, target, group)
    return Agent(forwarder_arn=site.names.function_arn("forwarder"))


def group_name(site: Site) -> str:
    return f"{site.settings.name}-adapter"


def _template(scope: Construct, site: Site, target: Ec2, bundle: assets.Asset) -> ec2.LaunchTemplate:
    image = (
        ec2.MachineImage.generic_linux({site.settings.region: target.ami_id})
        if target.ami_id
        else ec2.MachineImage.from_ssm_parameter(AMAZON_LINUX, os=ec2.OperatingSystemType.LINUX)
    )
    return ec2.LaunchTemplate(
        scope,
        "Template",
        launch_template_name=group_name(site),
        machine_image=image,
        instance_type=ec2.InstanceType(target.instance_types[0]),
        role=_role(scope, site, bundle),
        security_group=site.network.adapter_group,
        user_data=_first_start(site, target, bundle),
        require_imdsv2=True,
        http_put_response_hop_limit=1,
        instance_metadata_tags=False,
        detailed_monitoring=True,
        associate_public_ip_address=False,
        block_devices=[
            ec2.BlockDevice(
                device_name="/dev/xvda",
                # The account's own EBS key: the service-linked role that attaches volumes may not use ours.
                volume=ec2.BlockDeviceVolume.ebs(
                    target.volume_gb, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3
                ),
            )
        ],
    )


def _first_start(site: Site, target: Ec2, bundle: assets.Asset) -> ec2.UserData:
    commands = ec2.UserData.for_linux()
    address = bundle.s3_object_url
    commands.add_commands(
        *user_data(site, target, bundle=address, group=group_name(site), starting=STARTING, ending=ENDING)
    )
    return commands


def _role(scope: Construct, site: Site, bundle: assets.Asset) -> iam.Role:
    names = site.names
    streams = names.arn("logs", f"log-group:{names.adapter_log_group}:*")
    qualifier = site.settings.bootstrap_qualifier or BOOTSTRAP_QUALIFIER
    bucket = f"cdk-{qualifier}-assets-{site.settings.account}-{site.settings.region}"
    group = names.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{group_name(site)}")
    session = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel"]
    session += [
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
        "ssm:UpdateInstanceInformation",
    ]
    wildcards = worker_wildcards(names)
    return role(
        scope,
        "InstanceRole",
        trusted=iam.ServicePrincipal("ec2.amazonaws.com"),
        description=f"What the adapter of {site.settings.name} may do",
        statements=[
            *worker_statements(names, site.key.key_arn),
            allow(
                "Bundle", ["s3:GetObject"], [f"arn:{names.partition}:s3:::{bucket}/{bundle.s3_object_key}"]
            ),
            allow(
                "Logs", ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], [streams]
            ),
            allow("LifeCycle", ["autoscaling:CompleteLifecycleAction"], [group]),
            allow("Session", session, ["*"]),
        ],
        wildcards={
            **wildcards,
            "*": f"{wildcards['*']} What a Session Manager agent calls names no resource either.",
            streams: "Two streams an instance, in the adapter's own log group.",
            group: "The id in the ARN of a group is AWS's own; the group's name bounds it.",
        },
    )


def _group(
    scope: Construct, site: Site, target: Ec2, template: ec2.LaunchTemplate
) -> autoscaling.AutoScalingGroup:
    workers = target.workers
    group = autoscaling.AutoScalingGroup(
        scope,
        "Group",
        auto_scaling_group_name=group_name(site),
        vpc=site.network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnets=site.network.subnets),
        min_capacity=workers.min,
        max_capacity=workers.max,
        mixed_instances_policy=autoscaling.MixedInstancesPolicy(
            launch_template=template,
            launch_template_overrides=[
                autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(kind))
                for kind in target.instance_types
            ],
            # The first worker is never on Spot: an interruption then costs time, not the job.
            instances_distribution=autoscaling.InstancesDistribution(
                on_demand_base_capacity=1,
                on_demand_percentage_above_base_capacity=100 - round(100 * workers.spot_share),
                spot_allocation_strategy=autoscaling.SpotAllocationStrategy.PRICE_CAPACITY_OPTIMIZED,
            ),
        ),
        capacity_rebalance=workers.spot_share > 0,
        health_checks=autoscaling.HealthChecks.ec2(grace_period=BOOT),
        group_metrics=[autoscaling.GroupMetrics.all()],
        # New instances first, then the old ones drain: a job does not notice a deployment.
        update_policy=autoscaling.UpdatePolicy.instance_refresh(
            strategy=autoscaling.InstanceRefreshStrategy.ROLLING,
            min_healthy_percentage=100,
            max_healthy_percentage=200,
        ),
    )
    _hooks(group, target)
    _acknowledge(group)
    return group


def _hooks(group: autoscaling.AutoScalingGroup, target: Ec2) -> None:
    """Part of the group from its beginning: a hook that comes later misses the first instances."""
    made = group.node.default_child
    assert isinstance(made, autoscaling.CfnAutoScalingGroup)  # noqa: S101 - narrows the type
    hook = autoscaling.CfnAutoScalingGroup.LifecycleHookSpecificationProperty
    made.lifecycle_hook_specification_list = [
        hook(
            lifecycle_hook_name=STARTING,
            lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
            default_result="ABANDON",
            heartbeat_timeout=round(BOOT.to_seconds()),
        ),
        hook(
            lifecycle_hook_name=ENDING,
            lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
            default_result="CONTINUE",
            heartbeat_timeout=target.drain_seconds + HOOK_SPARE_SECONDS,
        ),
    ]


def _acknowledge(group: autoscaling.AutoScalingGroup) -> None:
    elsewhere = (
        "The rule reads a launch template or configuration of the group itself; this group's is in its mixed "
        "instances policy, and requires version 2 of the metadata service and an encrypted volume."
    )
    acknowledge_in(group, elsewhere, "EC2IMDSv2Enabled", (NIST, HIPAA))
    acknowledge(group, elsewhere, (SOLUTIONS, "EC26"))
    acknowledge(
        group,
        "Workers come and go with the backlog all day; work without a worker is an alarm of its own.",
        (SOLUTIONS, "AS3"),
    )


def _scale(scope: Construct, site: Site, target: Ec2, group: autoscaling.AutoScalingGroup) -> None:
    """Out by what waits, in to `min` when all is done (infra/targets/backlog.py)."""
    more = autoscaling.StepScalingAction(
        scope,
        "More",
        auto_scaling_group=group,
        adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
        # What has not started yet is counted as there, so that it is not asked for twice.
        estimated_instance_warmup=BOOT,
        metric_aggregation_type=autoscaling.MetricAggregationType.MAXIMUM,
    )
    for lower, upper, add in steps(site.settings.adapter.max_concurrency, target.workers):
        more.add_adjustment(adjustment=add, lower_bound=lower, upper_bound=upper)
    fewest = autoscaling.StepScalingAction(
        scope,
        "Fewest",
        auto_scaling_group=group,
        adjustment_type=autoscaling.AdjustmentType.EXACT_CAPACITY,
    )
    fewest.add_adjustment(adjustment=target.workers.min, upper_bound=0)
    waiting_alarm(scope, site.names).add_alarm_action(actions.AutoScalingAction(more))
    idle_alarm(scope, site.names, target.workers).add_alarm_action(actions.AutoScalingAction(fewest))

"""Fargate: an ECS service of arm64 tasks that pull from the queue. Nothing listens."""

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.log_group import log_group
from infra.packaging.stage import HEALTH_COMMAND, QUEUE_COMMAND
from infra.policy.acknowledgments import SOLUTIONS, acknowledge
from infra.policy.roles import role
from infra.policy.statements import allow
from infra.policy.worker import worker_statements, worker_wildcards
from infra.target_settings import Fargate
from infra.targets.backlog import START_SECONDS, idle_alarm, steps, waiting_alarm
from infra.targets.contract import Agent, Site
from infra.targets.image import PULL_WILDCARDS, Image, image, pull_statements
from infra.targets.variables import queue_worker

USER = "10001:10001"


def place(scope: Construct, site: Site, target: Fargate) -> Agent:
    """Cluster, task, service and scaling."""
    found = image(scope, site, command="queue")
    group = log_group(scope, "Logs", name=site.names.adapter_log_group, settings=site.settings, key=site.key)
    task = _task(scope, site, target, found, group)
    service = _service(scope, site, target, task)
    _scale(scope, site, target, service)
    return Agent(forwarder_arn=site.names.function_arn("forwarder"))


def _task(
    scope: Construct, site: Site, target: Fargate, found: Image, group: logs.ILogGroup
) -> ecs.FargateTaskDefinition:
    task = ecs.FargateTaskDefinition(
        scope,
        "Task",
        family=f"{site.settings.name}-adapter",
        cpu=target.cpu,
        memory_limit_mib=target.memory_mb,
        runtime_platform=ecs.RuntimePlatform(
            cpu_architecture=ecs.CpuArchitecture.ARM64,
            operating_system_family=ecs.OperatingSystemFamily.LINUX,
        ),
        task_role=_task_role(scope, site),
        execution_role=_execution_role(scope, site, found, group),
        volumes=[ecs.Volume(name="tmp")],
    )
    container = task.add_container(
        "adapter",
        image=ecs.ContainerImage.from_registry(found.uri),
        command=list(QUEUE_COMMAND),
        user=USER,
        readonly_root_filesystem=True,
        stop_timeout=cdk.Duration.seconds(target.stop_timeout),
        environment=queue_worker(site.settings, grace_seconds=target.stop_timeout),
        health_check=ecs.HealthCheck(
            command=["CMD", *HEALTH_COMMAND],
            interval=cdk.Duration.seconds(30),
            timeout=cdk.Duration.seconds(10),
            start_period=cdk.Duration.seconds(60),
        ),
        # A log that cannot be delivered must not stop a rollout: lines are dropped beyond the buffer.
        logging=ecs.LogDrivers.aws_logs(
            log_group=group,
            stream_prefix="adapter",
            mode=ecs.AwsLogDriverMode.NON_BLOCKING,
            max_buffer_size=cdk.Size.mebibytes(25),
        ),
    )
    container.add_mount_points(ecs.MountPoint(container_path="/tmp", source_volume="tmp", read_only=False))  # noqa: S108
    acknowledge(
        task,
        "The variables are names and limits, none is a secret; settings refuse those that look like one.",
        (SOLUTIONS, "ECS2"),
    )
    return task


def _task_role(scope: Construct, site: Site) -> iam.IRole:
    return role(
        scope,
        "TaskRole",
        trusted=iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": site.settings.account}},
        ),
        description=f"What the adapter of {site.settings.name} may do",
        statements=worker_statements(site.names, site.key.key_arn),
        wildcards=worker_wildcards(site.names),
    ).without_policy_updates()


def _execution_role(scope: Construct, site: Site, found: Image, group: logs.ILogGroup) -> iam.IRole:
    streams = site.names.arn("logs", f"log-group:{site.names.adapter_log_group}:*")
    return role(
        scope,
        "ExecutionRole",
        trusted=iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": site.settings.account}},
        ),
        description=f"What ECS does to start the adapter of {site.settings.name}",
        statements=[
            *pull_statements(found),
            allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [streams]),
        ],
        wildcards={streams: "One stream a task, in the adapter's own log group.", **PULL_WILDCARDS},
    ).without_policy_updates()


def _service(
    scope: Construct, site: Site, target: Fargate, task: ecs.FargateTaskDefinition
) -> ecs.FargateService:
    spot = round(100 * target.workers.spot_share)
    cluster = _cluster(scope, site, target)
    service = ecs.FargateService(
        scope,
        "Service",
        service_name=f"{site.settings.name}-adapter",
        cluster=cluster,
        task_definition=task,
        assign_public_ip=False,
        vpc_subnets=ec2.SubnetSelection(subnets=site.network.subnets),
        security_groups=[site.network.adapter_group],
        # The first worker is never on Spot: an interruption then costs time, not the job.
        capacity_provider_strategies=[
            ecs.CapacityProviderStrategy(capacity_provider="FARGATE", base=1, weight=100 - spot),
            ecs.CapacityProviderStrategy(capacity_provider="FARGATE_SPOT", weight=spot),
        ],
        circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
        min_healthy_percent=100,
        max_healthy_percent=200,
        # Rebalancing would stop tasks in the middle of rollouts.
        availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.DISABLED,
        enable_execute_command=False,
        enable_ecs_managed_tags=True,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )
    # A created cluster has its capacity providers by a resource of its own, which nothing else puts before
    # the service; and ECS lets go of none that a service still uses.
    service.node.add_dependency(cluster)
    return service


def _cluster(scope: Construct, site: Site, target: Fargate) -> ecs.ICluster:
    if target.cluster_name is not None:
        return ecs.Cluster.from_cluster_attributes(
            scope, "Cluster", cluster_name=target.cluster_name, vpc=site.network.vpc
        )
    return ecs.Cluster(
        scope,
        "Cluster",
        cluster_name=site.settings.name,
        vpc=site.network.vpc,
        container_insights_v2=ecs.ContainerInsights.ENABLED,
        enable_fargate_capacity_providers=True,
    )


def _scale(scope: Construct, site: Site, target: Fargate, service: ecs.FargateService) -> None:
    """Out by what waits, in to `min` when all is done (infra/targets/backlog.py)."""
    workers = target.workers
    cluster = target.cluster_name or site.settings.name
    count = scaling.ScalableTarget(
        scope,
        "Workers",
        service_namespace=scaling.ServiceNamespace.ECS,
        resource_id=f"service/{cluster}/{site.settings.name}-adapter",
        scalable_dimension="ecs:service:DesiredCount",
        min_capacity=workers.min,
        max_capacity=workers.max,
        role=iam.Role.from_role_arn(scope, "ScalingRole", _scaling_role(site), mutable=False),
    )
    count.node.add_dependency(service)
    more = scaling.StepScalingAction(
        scope,
        "More",
        scaling_target=count,
        adjustment_type=scaling.AdjustmentType.CHANGE_IN_CAPACITY,
        cooldown=cdk.Duration.seconds(START_SECONDS),
        metric_aggregation_type=scaling.MetricAggregationType.MAXIMUM,
    )
    for lower, upper, add in steps(site.settings.adapter.max_concurrency, workers):
        more.add_adjustment(adjustment=add, lower_bound=lower, upper_bound=upper)
    fewest = scaling.StepScalingAction(
        scope, "Fewest", scaling_target=count, adjustment_type=scaling.AdjustmentType.EXACT_CAPACITY
    )
    fewest.add_adjustment(adjustment=workers.min, upper_bound=0)
    waiting_alarm(scope, site.names).add_alarm_action(actions.ApplicationScalingAction(more))
    idle_alarm(scope, site.names, workers).add_alarm_action(actions.ApplicationScalingAction(fewest))


def _scaling_role(site: Site) -> str:
    """The account's own role for it; Application Auto Scaling makes it on first use, and takes no other."""
    service = "ecs.application-autoscaling.amazonaws.com"
    name = f"aws-service-role/{service}/AWSServiceRoleForApplicationAutoScaling_ECSService"
    return f"arn:{site.names.partition}:iam::{site.settings.account}:role/{name}"

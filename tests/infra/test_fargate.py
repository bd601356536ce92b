"""The Fargate target: the task, the service, and when it grows and shrinks."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.packaging.stage import HEALTH_COMMAND, QUEUE_COMMAND
from infra.target_settings import Workers
from infra.targets.backlog import MOST_STEPS, steps
from tests.infra.conftest import Templates, assemble, resources, synthesize

Synthesized = Callable[[str, str], Templates]


def only(templates: Templates, kind: str) -> dict[str, Any]:
    [found] = resources(templates["adapter-fargate"], kind)
    properties: dict[str, Any] = found["Properties"]
    return properties


def container(templates: Templates) -> dict[str, Any]:
    [found] = only(templates, "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return dict(found)


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_the_task_can_write_to_tmp_alone_and_is_nobody(synthesized: Synthesized, env: str) -> None:
    templates = synthesized(env, "fargate")
    task, adapter = only(templates, "AWS::ECS::TaskDefinition"), container(templates)
    assert adapter["ReadonlyRootFilesystem"] is True
    assert adapter["User"] == "10001:10001"
    assert [point["ContainerPath"] for point in adapter["MountPoints"]] == ["/tmp"]  # noqa: S108
    assert task["RuntimePlatform"]["CpuArchitecture"] == "ARM64"
    assert "PortMappings" not in adapter, "nothing listens"


def test_the_task_runs_the_queue_worker_and_asks_it_for_life(synthesized: Synthesized) -> None:
    adapter = container(synthesized("dev", "fargate"))
    assert tuple(adapter["Command"]) == QUEUE_COMMAND
    assert tuple(adapter["HealthCheck"]["Command"]) == ("CMD", *HEALTH_COMMAND)
    assert adapter["StopTimeout"] == 120
    # Whole lines: an EMF line that is cut is no metric.
    assert adapter["LogConfiguration"]["LogDriver"] == "awslogs"
    assert "awslogs-multiline-pattern" not in adapter["LogConfiguration"]["Options"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [("dev", {"FARGATE": 0, "FARGATE_SPOT": 100}), ("prod", {"FARGATE": 50, "FARGATE_SPOT": 50})],
)
def test_the_first_worker_is_never_on_spot(
    synthesized: Synthesized, env: str, expected: dict[str, int]
) -> None:
    strategy = only(synthesized(env, "fargate"), "AWS::ECS::Service")["CapacityProviderStrategy"]
    assert {each["CapacityProvider"]: each["Weight"] for each in strategy} == expected
    assert [each["CapacityProvider"] for each in strategy if each.get("Base")] == ["FARGATE"]


def test_a_deployment_that_does_not_start_goes_back(synthesized: Synthesized) -> None:
    service = only(synthesized("prod", "fargate"), "AWS::ECS::Service")
    assert service["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {
        "Enable": True,
        "Rollback": True,
    }
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100
    assert service["EnableExecuteCommand"] is False
    assert service["AvailabilityZoneRebalancing"] == "DISABLED"
    assert "DesiredCount" not in service, "a deployment must not undo what scaling did"


def test_the_service_is_there_only_while_its_capacity_providers_are(synthesized: Synthesized) -> None:
    """Otherwise the stack can be deleted, or go back, in an order that ECS refuses."""
    template = synthesized("dev", "fargate")["adapter-fargate"]
    [providers] = resources(template, "AWS::ECS::ClusterCapacityProviderAssociations")
    [service] = resources(template, "AWS::ECS::Service")
    assert providers["id"] in service["DependsOn"]


def test_scaling_is_bounded_and_uses_the_account_s_own_role(synthesized: Synthesized) -> None:
    scalable = only(synthesized("prod", "fargate"), "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (scalable["MinCapacity"], scalable["MaxCapacity"]) == (2, 6)
    assert scalable["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_ECSService")
    assert scalable["ResourceId"] == "service/mtrl-prod-sop/mtrl-prod-sop-adapter"


def alarm(templates: Templates, end: str) -> dict[str, Any]:
    found = resources(templates["adapter-fargate"], "AWS::CloudWatch::Alarm")
    [one] = [each for each in found if each["Properties"]["AlarmName"].endswith(end)]
    properties: dict[str, Any] = one["Properties"]
    return properties


def test_workers_go_only_when_nothing_waits_and_nothing_is_in_flight(synthesized: Synthesized) -> None:
    templates = synthesized("dev", "fargate")
    idle = alarm(templates, "scale-in")
    metrics = {each["Id"]: each for each in idle["Metrics"]}
    assert metrics["expr_1"]["Expression"] == "visible + hidden"
    names = {each["MetricStat"]["Metric"]["MetricName"] for each in metrics.values() if "MetricStat" in each}
    assert names == {"ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"}
    assert (idle["ComparisonOperator"], idle["Threshold"]) == ("LessThanThreshold", 1)
    assert idle["EvaluationPeriods"] == 15


def added(waiting: int, per_worker: int, workers: Workers) -> int:
    """What Application Auto Scaling adds for so many waiting messages, above a threshold of one."""
    above = waiting - 1
    for lower, upper, add in steps(per_worker, workers):
        if lower <= above and (upper is None or above < upper):
            return add
    raise AssertionError(f"no step for {waiting}")


@pytest.mark.parametrize("most", [1, 2, 3, 20])
@pytest.mark.parametrize("per_worker", [1, 32, 96])
def test_waiting_rollouts_get_the_workers_that_they_need(most: int, per_worker: int) -> None:
    workers = Workers(min=0, max=most)
    for waiting in (1, per_worker, per_worker + 1, 5 * per_worker, 10_000):
        needed = min(most, math.ceil(waiting / per_worker))
        assert added(waiting, per_worker, workers) == needed


def test_many_workers_come_in_strides() -> None:
    workers = Workers(min=0, max=100)
    found = steps(96, workers)
    assert len(found) <= MOST_STEPS
    for waiting in range(1, 100 * 96, 17):
        assert added(waiting, 96, workers) >= math.ceil(waiting / 96), "never too few"


def test_a_cluster_can_be_adopted() -> None:
    templates = synthesize("dev", "fargate", {"targets": {"fargate": {"cluster_name": "platform"}}})
    scalable = only(templates, "AWS::ApplicationAutoScaling::ScalableTarget")
    assert scalable["ResourceId"] == "service/platform/mtrl-dev-sop-adapter"
    kinds = {each["Type"] for each in templates["adapter-fargate"]["Resources"].values()}
    assert not {"AWS::ECS::Cluster", "AWS::ECS::ClusterCapacityProviderAssociations"} & kinds


def test_a_private_index_and_a_base_image_reach_the_build_and_no_template(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").touch()
    build = {"pip_conf": str(tmp_path / "pip.conf"), "base_image": "registry.example.com/python:3.12-slim"}
    assembly = assemble("dev", "fargate", {"adapter": build})
    manifest = Path(assembly.directory) / "mtrl-dev-sop-adapter-fargate.assets.json"
    [image] = json.loads(manifest.read_text())["dockerImages"].values()
    assert image["source"]["dockerBuildArgs"] == {"BASE_IMAGE": build["base_image"]}
    assert image["source"]["dockerBuildSecrets"] == {"pip_conf": f"src={build['pip_conf']}"}
    assert image["source"]["dockerBuildTarget"] == "queue"
    assert "pip.conf" not in str([stack.template for stack in assembly.stacks])

"""What the EKS target applies to a cluster: valid, confined, in crews, and with log lines that stay whole."""

import fnmatch
import io
import json
import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from adapters.contract.variables import VARIABLES
from adapters.runtime.settings import QueueSettings, Settings
from adapters.runtime.telemetry import Telemetry
from infra.target_settings import Workers
from infra.targets.kubernetes.crews import crews
from infra.targets.kubernetes.logs import Shipping, configuration
from infra.targets.kubernetes.nodes import limit_cpu
from infra.targets.kubernetes.objects import Place
from infra.targets.kubernetes.scaling import behavior
from tests.infra.conftest import Template, Templates, resources

Manifest = dict[str, Any]
Synthesized = Callable[[str, str], Templates]
environments = pytest.mark.parametrize("env", ["dev", "prod"])
NAME = {env: f"mtrl-{env}-sop" for env in ("dev", "prod")}
BUILT_IN = ("v1", "apps/v1", "policy/v1", "networking.k8s.io/v1")


def text(value: Any) -> str:
    """A property's text; what CloudFormation fills in later is `TOKEN`."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        _, parts = value["Fn::Join"]
        return "".join(text(part) for part in parts)
    return re.sub(r"\$\{[^}]*\}", "TOKEN", str(value["Fn::Sub"])) if "Fn::Sub" in value else "TOKEN"


def manifests(template: Template) -> list[Manifest]:
    """All that is applied by a stack."""
    units = resources(template, "Custom::AWSCDK-EKS-KubernetesResource")
    return [each for unit in units for each in json.loads(text(unit["Properties"]["Manifest"]))]


def of_kind(found: list[Manifest], kind: str) -> list[Manifest]:
    chosen = [each for each in found if each["kind"] == kind]
    assert chosen, kind
    return chosen


def pod(manifest: Manifest) -> Manifest:
    return dict(manifest["spec"]["template"]["spec"])


@pytest.fixture
def applied(synthesized: Synthesized) -> Callable[[str], list[Manifest]]:
    return lambda env: manifests(synthesized(env, "eks")["adapter-eks"])


Applied = Callable[[str], list[Manifest]]


@environments
def test_objects_of_kubernetes_itself_are_valid(applied: Applied, env: str) -> None:
    found = [each for each in applied(env) if each["apiVersion"] in BUILT_IN]
    kinds = {each["kind"] for each in found}
    assert {"Deployment", "DaemonSet", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= kinds
    for manifest in found:
        kubernetes_validate.validate(manifest, "1.35", strict=True)
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "of-keda"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "adapter"},
            "maxReplicas": 2,
            "behavior": behavior(),
        },
    }
    kubernetes_validate.validate(autoscaler, "1.35", strict=True)


@environments
def test_nothing_listens(applied: Applied, env: str) -> None:
    found = applied(env)
    assert not [each for each in found if each["kind"] in ("Service", "Ingress", "Gateway")]
    assert not [
        each
        for each in found
        if each["kind"] in ("Deployment", "DaemonSet")
        and any("ports" in container for container in pod(each)["containers"])
    ]
    namespaces = {each["metadata"]["name"] for each in of_kind(found, "Namespace")} - {"keda"}
    policies = {each["metadata"]["namespace"]: each["spec"] for each in of_kind(found, "NetworkPolicy")}
    assert set(policies) == namespaces
    for policy in policies.values():
        assert policy["podSelector"] == {}
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["ingress"] == []
        ports = [(rule.get("to"), port["port"]) for rule in policy["egress"] for port in rule["ports"]]
        agent = [{"ipBlock": {"cidr": "169.254.170.23/32"}}]
        assert ports == [(None, 443), (None, 53), (None, 53), (agent, 80)]


@environments
def test_the_adapter_keeps_to_restricted_pod_security(applied: Applied, env: str) -> None:
    """The rules of the level `restricted`, and a root that nothing can be written on."""
    found = applied(env)
    levels = {
        each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in of_kind(found, "Namespace")
    }
    assert levels == {NAME[env]: "restricted", f"{NAME[env]}-logs": "privileged", "keda": "restricted"}
    for deployment in of_kind(found, "Deployment"):
        assert levels[deployment["metadata"]["namespace"]] == "restricted"
        spec = pod(deployment)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["automountServiceAccountToken"] is False
        assert all(set(volume) - {"name"} <= {"emptyDir"} for volume in spec["volumes"])
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] == 10001
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@environments
def test_the_log_shipper_reads_and_has_no_rights(applied: Applied, env: str) -> None:
    [shipper] = of_kind(applied(env), "DaemonSet")
    spec = pod(shipper)
    [container] = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    assert {name for name in paths if not mounts[name]} == {"state"}
    assert {"operator": "Exists"} in spec["tolerations"]


def variables(deployment: Manifest) -> dict[str, str]:
    [container] = pod(deployment)["containers"]
    return {pair["name"]: pair["value"] for pair in container["env"]}


@environments
def test_the_worker_starts_with_its_variables(applied: Applied, env: str) -> None:
    required = {variable.name for variable in VARIABLES if "queue" in variable.required_by}
    for deployment in of_kind(applied(env), "Deployment"):
        found = variables(deployment)
        assert required <= set(found)
        settings, queue = Settings.from_environ(found), QueueSettings.from_environ(found)
        assert settings.job_name_prefix == f"{NAME[env]}-"
        assert queue.queue_url.endswith(f"/{NAME[env]}-rollouts")
        spec = pod(deployment)
        assert settings.drain + 15 <= spec["terminationGracePeriodSeconds"] == 120
        [container] = spec["containers"]
        assert container["livenessProbe"]["exec"]["command"] == ["python", "/app/healthy.py"]
        folder = found["MTRL_HEALTH_FILE"].rsplit("/", 1)[0]
        assert folder in [mount["mountPath"] for mount in container["volumeMounts"]]


@environments
def test_workers_find_nodes_and_nothing_else_does(applied: Applied, env: str) -> None:
    found = applied(env)
    [pool] = of_kind(found, "NodePool")
    [kind] = of_kind(found, "NodeClass")
    template = pool["spec"]["template"]
    assert template["spec"]["nodeClassRef"] == {
        "group": "eks.amazonaws.com",
        "kind": "NodeClass",
        "name": kind["metadata"]["name"],
    }
    needs = {each["key"]: each["values"] for each in template["spec"]["requirements"]}
    assert needs["kubernetes.io/arch"] == ["arm64"]
    [taint] = template["spec"]["taints"]
    assert taint["effect"] == "NoSchedule"
    groups = [term["id"] for term in kind["spec"]["securityGroupSelectorTerms"]]
    assert len(groups) == 2, "the cluster's own and the adapter's"
    for deployment in of_kind(found, "Deployment"):
        spec = pod(deployment)
        assert {**taint, "operator": "Equal"} in spec["tolerations"]
        wanted = dict(spec["nodeSelector"])
        assert wanted.pop("kubernetes.io/arch") == "arm64"
        assert wanted.pop("karpenter.sh/capacity-type") in needs["karpenter.sh/capacity-type"]
        assert wanted == template["metadata"]["labels"]


@environments
def test_a_rollout_is_not_cut_to_save_a_node(applied: Applied, env: str) -> None:
    found = applied(env)
    [pool] = of_kind(found, "NodePool")
    assert pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmpty"
    for deployment in of_kind(found, "Deployment"):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        assert annotations == {"karpenter.sh/do-not-disrupt": "true"}
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    [budget] = of_kind(found, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    for deployment in of_kind(found, "Deployment"):
        carried = deployment["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= carried.items()


@environments
def test_scaling_adds_workers_and_ends_them_only_when_all_is_done(applied: Applied, env: str) -> None:
    found = applied(env)
    [authentication] = of_kind(found, "TriggerAuthentication")
    assert authentication["spec"]["podIdentity"] == {"provider": "aws", "identityOwner": "keda"}
    scaled = {each["metadata"]["name"]: each["spec"] for each in of_kind(found, "ScaledObject")}
    sizes = {each["metadata"]["name"]: each["spec"].get("replicas") for each in of_kind(found, "Deployment")}
    assert set(scaled) == {name for name, replicas in sizes.items() if replicas is None}
    assert sizes["adapter"] == {"dev": 1, "prod": 2}[env], "kept, and on demand"
    for name, spec in scaled.items():
        assert spec["scaleTargetRef"]["name"] == name
        assert spec["minReplicaCount"] == 0
        assert spec["cooldownPeriod"] == 15 * 60
        rules = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert rules["scaleDown"] == {"selectPolicy": "Disabled"}
        [trigger] = spec["triggers"]
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        assert trigger["type"] == "aws-sqs-queue"
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert trigger["metadata"]["scaleOnInFlight"] == "true"
        assert trigger["metadata"]["queueURL"].endswith(f"/{NAME[env]}-rollouts")
    kept = sum(size for size in sizes.values() if size)
    assert kept + sum(spec["maxReplicaCount"] for spec in scaled.values()) == {"dev": 2, "prod": 6}[env]


@pytest.mark.parametrize("least", [0, 1, 2, 5])
@pytest.mark.parametrize("most", [1, 2, 5, 9])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_crews_add_up_and_the_first_is_never_on_spot(least: int, most: int, share: float) -> None:
    if least > most:
        pytest.skip("refused by the settings")
    workers = Workers(min=least, max=most, spot_share=share)
    found = crews(workers, 96)
    assert found[0].capacity == "on-demand"
    assert found[0].most >= 1
    assert found[0].fixed == (least > 0)
    assert sum(crew.most for crew in found) == most
    assert sum(crew.most for crew in found if crew.fixed) == least
    spot = sum(crew.most for crew in found if crew.capacity == "spot")
    assert spot <= most - max(least, 1)
    assert abs(spot - min((most - 1) * share, most - max(least, 1))) <= 0.5
    for crew in (crew for crew in found if not crew.fixed):
        full = -(-most * 96 // crew.messages)
        assert full == crew.most, "with all slots of all workers taken, every crew is complete"


def test_the_bill_is_bounded() -> None:
    assert limit_cpu(Workers(max=4), "500m") == 20
    assert limit_cpu(Workers(max=4), "1.5") == 36


SHIPPING = Shipping(
    place=Place(name="mtrl-dev-sop", namespace="mtrl-dev-sop"),
    namespace="mtrl-dev-sop-logs",
    region="us-west-2",
    log_group="/mtrl/mtrl-dev-sop/eks",
)
CRI = re.compile(r"^(?P<time>.+?) (?P<stream>stdout|stderr) (?P<_p>F|P) (?P<log>.*)$")
"""What Fluent Bit's built-in `cri` parser takes a line apart with; parts up to an F are one record."""


def sections() -> dict[str, dict[str, str]]:
    """Fluent Bit's classic form: a section in brackets, then a key and its value on each line."""
    found: dict[str, dict[str, str]] = {}
    for line in configuration(SHIPPING).splitlines():
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), {})
        else:
            key, value = line.split(None, 1)
            assert key not in current
            current[key] = value.strip()
    return found


def as_containerd_writes(line: str, limit: int = 16384) -> list[str]:
    parts = [line[at : at + limit] for at in range(0, len(line), limit)]
    flags = ["P"] * (len(parts) - 1) + ["F"]
    return [
        f"2026-01-02T03:04:05.678901234Z stdout {flag} {part}"
        for flag, part in zip(flags, parts, strict=True)
    ]


def sent(lines: list[str], key: str) -> list[str]:
    """The documented working of the parser and of `log_key`, on lines of a container's log file."""
    events: list[str] = []
    parts = ""
    for line in lines:
        found = CRI.match(line)
        assert found
        parts += found["log"]
        if found["_p"] == "F":
            events.append({**found.groupdict(), "log": parts}[key])
            parts = ""
    return events


def metric_line(filling: str = "") -> str:
    """A line of the adapter's own making."""
    stream = io.StringIO()
    telemetry = Telemetry("mtrl-dev-sop", "sop", stream=stream)
    telemetry.log("INFO", "rollout", _aws={"CloudWatchMetrics": []}, Reward=0.5, filling=filling)
    return stream.getvalue().rstrip("\n")


def test_a_metric_line_leaves_as_it_was_written() -> None:
    found = sections()
    assert found["INPUT"]["multiline.parser"] == "cri"
    lines = [metric_line(), metric_line('quotes " and ü \\ ' * 3000)]
    assert len(lines[1]) > 2 * 16384
    written = [part for line in lines for part in as_containerd_writes(line)]
    assert len(written) > 3
    assert sent(written, found["OUTPUT"]["log_key"]) == lines


@pytest.mark.parametrize(
    ("file", "pod_name"),
    [
        ("adapter-7c9f8d6b5-abcde_mtrl-dev-sop_adapter-" + "0f" * 32, "adapter-7c9f8d6b5-abcde"),
        ("adapter-spot-7c9f8d6b5-abcde_mtrl-dev-sop_adapter-" + "0f" * 32, "adapter-spot-7c9f8d6b5-abcde"),
        ("adapter-7c9f8d6b5-abcde_mtrl-prod-sop_adapter-" + "0f" * 32, None),
        ("keda-operator-7c9f8d6b5-abcde_keda_keda-operator-" + "0f" * 32, None),
        ("log-shipper-abcde_mtrl-dev-sop-logs_fluent-bit-" + "0f" * 32, None),
    ],
)
def test_the_adapters_files_alone_are_read(file: str, pod_name: str | None) -> None:
    """Names as the kubelet gives them: Pod, namespace, container and its id."""
    source = sections()["INPUT"]
    path = f"/var/log/containers/{file}.log"
    assert fnmatch.fnmatchcase(path, source["path"]) == (pod_name is not None)
    if pod_name:
        found = re.search(source["tag_regex"].replace("(?<", "(?P<"), path)
        assert found
        assert found["pod"] == pod_name
        assert source["tag"] == "<pod>", "and so the stream's name"


def test_the_log_goes_to_the_group_that_is_kept() -> None:
    out = sections()["OUTPUT"]
    assert out["log_group_name"] == "/mtrl/mtrl-dev-sop/eks"
    assert out["auto_create_group"] == "off", "a group that it made would have no key"
    assert sections()["INPUT"]["db"].startswith("/var/fluent-bit/"), (
        "kept on the node, or metrics count twice"
    )

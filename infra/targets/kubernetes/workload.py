"""The adapter itself: a Deployment for each crew, and how many of their Pods may be taken at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.targets.kubernetes.crews import Crew
from infra.targets.kubernetes.objects import ADAPTER, Manifest, Place, confined, labels

USER = 10001
"""As in the image."""
SCRATCH = "64Mi"
"""Of /tmp, which holds the worker's sign of life and nothing large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a worker is."""

    place: Place
    image: str
    environment: Mapping[str, str]
    command: Sequence[str]
    health_command: Sequence[str]
    cpu: str
    memory: str
    grace_seconds: int
    capacity_label: str | None
    """The label by which nodes say whether they are Spot; None if all are on demand."""


def deployment(workload: Workload, crew: Crew) -> Manifest:
    """The Deployment of a crew. KEDA owns the number of replicas of a scaled one."""
    selector = {**labels(workload.place, ADAPTER), "mtrl-kit/crew": crew.name}
    size = {"replicas": crew.most} if crew.fixed else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": crew.name, "namespace": workload.place.namespace, "labels": selector},
        "spec": {
            **size,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector},
            # New workers first, then the old ones drain: a job does not notice a deployment.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}},
            "template": {
                "metadata": {
                    "labels": selector,
                    # Nodes are repacked and replaced when no rollout is cut by it.
                    "annotations": {"karpenter.sh/do-not-disrupt": "true"},
                },
                "spec": _pod(workload, crew, selector),
            },
        },
    }


def _pod(workload: Workload, crew: Crew, selector: Mapping[str, str]) -> Manifest:
    capacity = {workload.capacity_label: crew.capacity} if workload.capacity_label else {}
    return {
        "serviceAccountName": ADAPTER,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": workload.grace_seconds,
        "nodeSelector": {**workload.place.node_selector, **capacity},
        "tolerations": [workload.place.toleration],
        "topologySpreadConstraints": [
            _spread("topology.kubernetes.io/zone", selector),
            _spread("kubernetes.io/hostname", selector),
        ],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(workload)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": SCRATCH}}],
    }


def _container(workload: Workload) -> Manifest:
    return {
        "name": ADAPTER,
        "image": workload.image,
        "imagePullPolicy": "IfNotPresent",
        # An adopted image may start something else by itself.
        "command": list(workload.command),
        "env": [{"name": name, "value": value} for name, value in workload.environment.items()],
        # Memory is a promise to the worker alone; a limit of CPU would only slow it on an idle node.
        "resources": {
            "requests": {"cpu": workload.cpu, "memory": workload.memory},
            "limits": {"memory": workload.memory},
        },
        "startupProbe": _probe(workload, every=10, failures=12),
        "livenessProbe": _probe(workload, every=30, failures=3),
        "securityContext": confined(user=USER),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the one writable folder
    }


def _probe(workload: Workload, *, every: int, failures: int) -> Manifest:
    return {
        "exec": {"command": list(workload.health_command)},
        "periodSeconds": every,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }


def _spread(over: str, selector: Mapping[str, str]) -> dict[str, Any]:
    """A wish: a worker in the wrong zone is better than none."""
    return {
        "maxSkew": 1,
        "topologyKey": over,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }


def disruption_budget(place: Place) -> Manifest:
    """Whoever empties nodes takes one worker at a time, of all crews together."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": ADAPTER, "namespace": place.namespace, "labels": labels(place, ADAPTER)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(place, ADAPTER)}},
    }

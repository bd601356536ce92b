"""The nodes of Auto Mode that are ours: arm64 (its built-in pools are amd64), and for nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from infra.target_settings import Workers
from infra.targets.kubernetes.objects import NODE_LABEL, Manifest, Place

CAPACITY_LABEL = "karpenter.sh/capacity-type"
LIFETIME = "336h"
"""After two weeks a node is replaced by one with the newest image."""
DISK = "40Gi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What nodes are made of."""

    place: Place
    role_name: str
    subnet_ids: Sequence[str]
    security_group_ids: Sequence[str]
    """The cluster's own group, by which nodes reach the API, and the adapter's, by which the endpoints."""
    spot: bool
    limit_cpu: int
    grace_seconds: int


def limit_cpu(workers: Workers, cpu: str) -> int:
    """A bound of the bill: a node for each worker twice (old and new ones, in a deployment), and KEDA's."""
    each = float(cpu.removesuffix("m")) / 1000 if cpu.endswith("m") else float(cpu)
    return 2 * workers.max * max(2, 2 * math.ceil(each)) + 4


def network_policies() -> Manifest:
    """Without it Auto Mode takes network policies and enforces none. One for the whole cluster."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
        "data": {"enable-network-policy-controller": "true"},
    }


def node_class(pool: Pool) -> Manifest:
    return {
        "apiVersion": "eks.amazonaws.com/v1",
        "kind": "NodeClass",
        "metadata": {"name": pool.place.name},
        "spec": {
            "role": pool.role_name,
            "subnetSelectorTerms": [{"id": subnet} for subnet in pool.subnet_ids],
            "securityGroupSelectorTerms": [{"id": group} for group in pool.security_group_ids],
            "networkPolicy": "DefaultAllow",
            "ephemeralStorage": {"size": DISK},
        },
    }


def node_pool(pool: Pool) -> Manifest:
    name = pool.place.name
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "limits": {"cpu": str(pool.limit_cpu)},
            # Only nodes without a worker are given back: moving one would cut its rollouts.
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5m"},
            "template": {
                "metadata": {"labels": {NODE_LABEL: name}},
                "spec": {
                    "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": name},
                    "taints": [{"key": NODE_LABEL, "value": name, "effect": "NoSchedule"}],
                    "expireAfter": LIFETIME,
                    # Workers ask not to be disturbed; an expired node waits for them so long, and no longer.
                    "terminationGracePeriod": f"{pool.grace_seconds + 3600}s",
                    "requirements": _requirements(pool),
                },
            },
        },
    }


def _requirements(pool: Pool) -> list[Manifest]:
    capacity = ["on-demand", "spot"] if pool.spot else ["on-demand"]
    wanted = {
        "kubernetes.io/arch": ("In", ["arm64"]),
        CAPACITY_LABEL: ("In", capacity),
        "eks.amazonaws.com/instance-category": ("In", ["c", "m", "r", "t"]),
        "eks.amazonaws.com/instance-generation": ("Gt", ["3"]),
    }
    return [
        {"key": key, "operator": operator, "values": values} for key, (operator, values) in wanted.items()
    ]

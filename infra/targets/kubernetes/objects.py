"""What all manifests share: names, labels, where Pods run, and the way out that they are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = dict[str, Any]
Level = Literal["privileged", "baseline", "restricted"]

ADAPTER = "adapter"
"""The container, the service account and the first Deployment; a deployment has a namespace of its own."""
NODE_LABEL = "mtrl-kit/adapter"
"""Label and taint of the nodes that are ours; its value is the deployment's name."""
POD_IDENTITY_AGENT = "169.254.170.23/32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the Pods of a deployment live."""

    name: str
    """The deployment's."""
    namespace: str
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that nodes must have besides `NODE_LABEL`."""

    @property
    def node_selector(self) -> dict[str, str]:
        return {NODE_LABEL: self.name, "kubernetes.io/arch": "arm64", **self.node_labels}

    @property
    def toleration(self) -> Manifest:
        return {"key": NODE_LABEL, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}


def labels(place: Place, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/instance": place.name,
        "app.kubernetes.io/part-of": "mtrl-kit",
    }


def namespace(name: str, enforced: Level) -> Manifest:
    """A namespace with its Pod Security level; what is not restricted is warned about and audited."""
    begin = "pod-security.kubernetes.io"
    levels = {"enforce": enforced, "warn": "restricted", "audit": "restricted"}
    named = {f"{begin}/{mode}": level for mode, level in levels.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": named}}


def service_account(name: str, namespace: str) -> Manifest:
    """Pod Identity gives it its AWS role; of Kubernetes it may do nothing, so Pods get no token for that."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "automountServiceAccountToken": False,
    }


def closed(namespace: str) -> Manifest:
    """Nothing in; out: TLS, names, and the agent that hands out the role's credentials.

    Addresses are not bounded, because the Job Runtime publishes none. The instance's own metadata (port 80 of
    another link-local address) stays closed: what is there is the node's role.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": namespace},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [
                {"ports": [{"protocol": "TCP", "port": 443}]},
                {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {
                    "to": [{"ipBlock": {"cidr": POD_IDENTITY_AGENT}}],
                    "ports": [{"protocol": "TCP", "port": 80}],
                },
            ],
        },
    }


def confined(*, user: int) -> Manifest:
    """The security context of a container: no rights but to run, nothing to write on but its volumes."""
    return {
        "runAsUser": user,
        "runAsGroup": user,
        "runAsNonRoot": user != 0,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }

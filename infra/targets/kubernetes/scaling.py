"""Scaling by KEDA: out by what waits and is in flight, back to nothing when all is done.

The law of infra/targets/backlog.py holds here too: workers go only when nothing is waiting and nothing is in
flight. So the autoscaler that KEDA drives may only add; KEDA itself ends a crew after the idle time.
"""

from dataclasses import dataclass

from infra.targets.kubernetes.crews import Crew
from infra.targets.kubernetes.objects import Manifest, Place, labels

CHART, CHART_VERSION = "keda", "2.20.2"
CHART_REPOSITORY = "https://kedacore.github.io/charts"
POLL_SECONDS = 15
QUEUE = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The queue that is scaled on."""

    queue_url: str
    region: str
    idle_seconds: int


def authentication(place: Place, role_arn: str | None) -> Manifest:
    """KEDA's own identity, not the adapter's: it reads how many messages there are, and no message.

    An adopted KEDA takes on `role_arn` for it; an installed one may by itself.
    """
    whose = {"roleArn": role_arn} if role_arn else {"identityOwner": "keda"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": QUEUE, "namespace": place.namespace},
        "spec": {"podIdentity": {"provider": "aws", **whose}},
    }


def scaled(place: Place, backlog: Backlog, crew: Crew) -> Manifest:
    """From 0 to the crew's `most`, by the messages that wait or are in flight."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": crew.name, "namespace": place.namespace, "labels": labels(place, "scaling")},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": crew.name},
            "pollingInterval": POLL_SECONDS,
            "cooldownPeriod": backlog.idle_seconds,
            "minReplicaCount": 0,
            "maxReplicaCount": crew.most,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior()}},
            "triggers": [_trigger(backlog, crew)],
        },
    }


def behavior() -> Manifest:
    """At once upwards; never downwards, because Kubernetes would choose a Pod that is busy."""
    upwards = {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": POLL_SECONDS}],
    }
    return {"scaleUp": upwards, "scaleDown": {"selectPolicy": "Disabled"}}


def _trigger(backlog: Backlog, crew: Crew) -> Manifest:
    return {
        "type": "aws-sqs-queue",
        "authenticationRef": {"name": QUEUE},
        "metadata": {
            "queueURL": backlog.queue_url,
            "awsRegion": backlog.region,
            "queueLength": str(crew.messages),
            "activationQueueLength": "0",
            "scaleOnInFlight": "true",
        },
    }


def chart_values(place: Place, registry: str | None, account: str) -> Manifest:
    """KEDA on our nodes: others have no way to the VPC's endpoints."""
    mirror = {"global": {"image": {"registry": registry}}} if registry else {}
    return {
        **mirror,
        "nodeSelector": place.node_selector,
        "tolerations": [place.toleration],
        "serviceAccount": {"operator": {"create": True, "name": account}},
    }

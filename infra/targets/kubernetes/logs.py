"""The way of log lines to CloudWatch: a small Fluent Bit on our nodes, for the adapter's containers alone.

A metric is a log line in embedded metric format, and CloudWatch finds it only if the line is the whole event.
The container runtime puts time, stream and a flag before each line, and cuts long ones in parts: the `cri`
parser takes that off and joins the parts under `log`, and `log_key log` sends the value of `log` alone. The
usual set-ups (the CloudWatch add-on among them) send a JSON object around the line, which makes no metric.
"""

import hashlib
from dataclasses import dataclass

from infra.targets.kubernetes.objects import ADAPTER, Manifest, Place, confined, labels

SHIPPER = "log-shipper"
IMAGE = "public.ecr.aws/aws-observability/aws-for-fluent-bit:3.4.14"
FILES = "/var/log/containers"
STATE = "/var/fluent-bit/mtrl"
"""On the node: where it was. A restarted shipper that began anew would count every metric twice."""
ROOT = 0
"""Log files are root's; without capabilities no other user can read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    """From where to where."""

    place: Place
    namespace: str
    """The shipper's own: it mounts folders of the node, which no restricted namespace lets it."""
    region: str
    log_group: str
    image: str = IMAGE


def configuration(shipping: Shipping) -> str:
    """Fluent Bit's, in its classic form."""
    files = f"{FILES}/*_{shipping.place.namespace}_{ADAPTER}-*.log"
    return f"""\
[SERVICE]
    flush                2
    grace                20
    daemon               off
    log_level            warn
    storage.path         {STATE}/buffer
[INPUT]
    name                 tail
    path                 {files}
    tag                  <pod>
    tag_regex            (?<pod>[a-z0-9][-a-z0-9]*)_[^_/]+_[^_/]+\\.log$
    multiline.parser     cri
    db                   {STATE}/{shipping.place.name}.db
    read_from_head       on
    refresh_interval     5
    rotate_wait          30
    skip_long_lines      on
    storage.type         filesystem
[OUTPUT]
    name                 cloudwatch_logs
    match                *
    region               {shipping.region}
    log_group_name       {shipping.log_group}
    log_stream_prefix    eks/
    log_key              log
    auto_create_group    off
    retry_limit          60
    storage.total_limit_size 256M
"""


def config_map(shipping: Shipping) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SHIPPER, "namespace": shipping.namespace},
        "data": {"fluent-bit.conf": configuration(shipping)},
    }


def daemon_set(shipping: Shipping) -> Manifest:
    """On every node of the deployment, from the node's first Pod to its last line."""
    selector = labels(shipping.place, SHIPPER)
    digest = hashlib.sha256(configuration(shipping).encode()).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": SHIPPER, "namespace": shipping.namespace, "labels": selector},
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {
                # A changed configuration is a changed Pod: Fluent Bit reads it once.
                "metadata": {"labels": selector, "annotations": {"mtrl-kit/configuration": digest}},
                "spec": _pod(shipping),
            },
        },
    }


def _pod(shipping: Shipping) -> Manifest:
    return {
        "serviceAccountName": SHIPPER,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": shipping.place.node_selector,
        # It outlives the drain of its node, so that a worker's last words are sent.
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(shipping)],
        "volumes": [
            {"name": "configuration", "configMap": {"name": SHIPPER}},
            {"name": "logs", "hostPath": {"path": "/var/log", "type": "Directory"}},
            {"name": "state", "hostPath": {"path": STATE, "type": "DirectoryOrCreate"}},
        ],
    }


def _container(shipping: Shipping) -> Manifest:
    return {
        "name": "fluent-bit",
        "image": shipping.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/fluent-bit/bin/fluent-bit", "-c", "/mtrl/fluent-bit.conf"],
        "env": [{"name": "AWS_REGION", "value": shipping.region}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": confined(user=ROOT),
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/mtrl", "readOnly": True},
            {"name": "logs", "mountPath": "/var/log", "readOnly": True},
            {"name": "state", "mountPath": STATE},
        ],
    }

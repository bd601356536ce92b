"""What an instance does at its first start: fetch the bundle, write variables, install, report for work."""

import json
from collections.abc import Mapping

from infra.target_settings import Ec2
from infra.targets.contract import Site
from infra.targets.variables import SEAL_SECONDS, queue_worker

HOME = "/opt/mtrl"
HEALTH_FILE = "/run/mtrl/alive"
"""In the unit's own folder, where the health timer can see it."""


def user_data(site: Site, target: Ec2, *, bundle: str, group: str, starting: str, ending: str) -> list[str]:
    """Shell commands, run once as root; `bundle` is the zip's s3:// address.

    The address has the bundle's digest in it: a new bundle makes a new launch template, and so new instances.
    An instance that does not get to the end is abandoned by the launch hook, and a deployment goes back.
    """
    region = site.settings.region
    drain = {
        "REGION": region,
        "GROUP": group,
        "HOOK": ending,
        "STOP_SECONDS": str(target.drain_seconds + SEAL_SECONDS),
    }
    values = queue_worker(site.settings, grace_seconds=target.drain_seconds, health_file=HEALTH_FILE)
    report = "aws autoscaling complete-lifecycle-action --lifecycle-action-result CONTINUE"
    ask = (
        "token=$(curl -sSf -X PUT http://169.254.169.254/latest/api/token "
        "-H 'X-aws-ec2-metadata-token-ttl-seconds: 60')"
    )
    return [
        "set -euo pipefail",
        f"install -d -m 0755 /etc/mtrl {HOME}",
        *_file("/etc/mtrl/adapter.env", values),
        *_file("/etc/mtrl/drain.env", drain),
        f"aws s3 cp --only-show-errors --region {region} {bundle} /tmp/mtrl.zip",
        "command -v unzip >/dev/null || dnf install --assumeyes --quiet unzip",
        f"unzip -q -o /tmp/mtrl.zip -d {HOME} && rm /tmp/mtrl.zip",
        f"bash {HOME}/install.sh --log-group {site.names.adapter_log_group}",
        ask,
        'instance=$(curl -sSf -H "X-aws-ec2-metadata-token: $token" '
        "http://169.254.169.254/latest/meta-data/instance-id)",
        f"{report} --region {region} --auto-scaling-group-name {group} --lifecycle-hook-name {starting} "
        '--instance-id "$instance"',
    ]


def _file(path: str, values: Mapping[str, str]) -> list[str]:
    """A file of variables, as systemd reads them; nothing in it is a secret, and nothing is expanded.

    Between double quotes systemd undoes a backslash before a quote or a backslash, and no other escape of
    JSON's: letters stay as they are, and settings take no control characters.
    """
    lines = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return ["\n".join([f"cat > {path} <<'END'", *lines, "END"])]

"""The EC2 target: what the template says, what an instance does at its start, and how it ends."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runtime.settings import QueueSettings, Settings
from infra.targets.user_data import HEALTH_FILE
from tests.infra.conftest import Templates, resources, synthesize

Synthesized = Callable[[str, str], Templates]
DRAIN = Path(__file__).parents[2] / "adapters/packages/ec2/drain.py"


def only(templates: Templates, kind: str) -> dict[str, Any]:
    [found] = resources(templates["adapter-ec2"], kind)
    return found


def first_start(templates: Templates) -> str:
    data = only(templates, "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"]
    text: str = data["UserData"]["Fn::Base64"]
    return text


def variables(script: str, path: str) -> dict[str, str]:
    """A file that the script writes, as systemd reads it."""
    found = re.search(rf"cat > {re.escape(path)} <<'END'\n(.*?)\nEND", script, re.DOTALL)
    assert found, path
    pairs = (line.split("=", 1) for line in found[1].splitlines())
    return {name: unquoted(value) for name, value in pairs}


def unquoted(value: str) -> str:
    """As systemd.exec(5) says of EnvironmentFile: a backslash escapes these four, and else stays."""
    assert value[0] == value[-1] == '"'
    return re.sub(r'\\(["\\$`])', r"\1", value[1:-1])


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_instances_are_closed(synthesized: Synthesized, env: str) -> None:
    data = only(synthesized(env, "ec2"), "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert all(disk["Ebs"]["Encrypted"] for disk in data["BlockDeviceMappings"])
    assert "KeyName" not in data
    assert [each["AssociatePublicIpAddress"] for each in data["NetworkInterfaces"]] == [False]


@pytest.mark.parametrize(("env", "share"), [("dev", 0), ("prod", 50)])
def test_the_first_worker_is_never_on_spot(synthesized: Synthesized, env: str, share: int) -> None:
    group = only(synthesized(env, "ec2"), "AWS::AutoScaling::AutoScalingGroup")["Properties"]
    spread = group["MixedInstancesPolicy"]["InstancesDistribution"]
    assert spread["OnDemandBaseCapacity"] == 1
    assert spread["OnDemandPercentageAboveBaseCapacity"] == share
    assert len(group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]) > 1


def test_a_deployment_starts_new_instances_before_old_ones_drain(synthesized: Synthesized) -> None:
    group = only(synthesized("prod", "ec2"), "AWS::AutoScaling::AutoScalingGroup")
    preferences = group["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]
    assert preferences["MinHealthyPercentage"] == 100
    hooks = {
        hook["LifecycleHookName"]: hook for hook in group["Properties"]["LifecycleHookSpecificationList"]
    }
    assert hooks["start"]["DefaultResult"] == "ABANDON", "an instance without a worker is no success"
    assert hooks["drain"]["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"


def test_the_instance_waits_for_the_worker_and_the_group_for_the_instance(synthesized: Synthesized) -> None:
    templates = synthesized("dev", "ec2")
    script = first_start(templates)
    worker = Settings.from_environ(variables(script, "/etc/mtrl/adapter.env"))
    stop = float(variables(script, "/etc/mtrl/drain.env")["STOP_SECONDS"])
    group = only(templates, "AWS::AutoScaling::AutoScalingGroup")["Properties"]
    [hook] = [h for h in group["LifecycleHookSpecificationList"] if h["LifecycleHookName"] == "drain"]
    systemd = worker.drain + 15  # install.sh
    assert worker.drain < systemd < stop < hook["HeartbeatTimeout"]


def test_there_is_a_log_as_long_as_there_are_instances(synthesized: Synthesized) -> None:
    templates = synthesized("dev", "ec2")
    group = only(templates, "AWS::AutoScaling::AutoScalingGroup")
    assert only(templates, "AWS::Logs::LogGroup")["id"] in group["DependsOn"]


def test_the_group_waits_no_longer_than_auto_scaling_lets_it() -> None:
    longest = {"drain_seconds": 7140, "workers": {"spot_share": 0}}
    group = only(
        synthesize("dev", "ec2", {"targets": {"ec2": longest}}), "AWS::AutoScaling::AutoScalingGroup"
    )
    hooks = group["Properties"]["LifecycleHookSpecificationList"]
    assert {hook["LifecycleHookName"]: hook["HeartbeatTimeout"] for hook in hooks}["drain"] == 7200


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_the_worker_would_start_with_what_is_written(synthesized: Synthesized, env: str) -> None:
    found = variables(first_start(synthesized(env, "ec2")), "/etc/mtrl/adapter.env")
    assert Settings.from_environ(found).job_name_prefix == f"mtrl-{env}-sop-"
    assert QueueSettings.from_environ(found).queue_url.endswith(f"/mtrl-{env}-sop-rollouts")
    assert found["MTRL_HEALTH_FILE"] == HEALTH_FILE, "where the health timer looks"


def test_a_value_reaches_the_worker_as_it_was_written() -> None:
    values = {"MTRL_SOP_SAYS": 'Grüße — "C:\\new" costs $5 \N{SNOWMAN}', "MTRL_SOP_EMPTY": ""}
    templates = synthesize("dev", "ec2", {"adapter": {"variables": values}})
    found = variables(first_start(templates), "/etc/mtrl/adapter.env")
    assert {name: found[name] for name in values} == values


def test_the_first_start_is_a_shell_script_that_stops_at_a_failure(
    synthesized: Synthesized, tmp_path: Path
) -> None:
    script = first_start(synthesized("dev", "ec2"))
    path = tmp_path / "user-data.sh"
    path.write_text(script)
    subprocess.run(["bash", "-n", path], check=True)
    assert script.splitlines()[1] == "set -euo pipefail"
    assert script.index("install.sh") < script.index("complete-lifecycle-action")
    assert "${Token" not in script


def test_a_new_bundle_makes_new_instances(synthesized: Synthesized) -> None:
    """The bundle's digest is in the launch template, and its version in the group."""
    assert re.search(r"s3://\S+/[0-9a-f]{64}\.zip", first_start(synthesized("dev", "ec2")))
    group = only(synthesized("dev", "ec2"), "AWS::AutoScaling::AutoScalingGroup")["Properties"]
    version = group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"]
    assert "LatestVersionNumber" in json.dumps(version)


def test_an_image_can_be_adopted() -> None:
    templates = synthesize("dev", "ec2", {"targets": {"ec2": {"ami_id": "ami-0123456789abcdef0"}}})
    data = only(templates, "AWS::EC2::LaunchTemplate")["Properties"]["LaunchTemplateData"]
    assert data["ImageId"] == "ami-0123456789abcdef0"


class Metadata(http.server.ThreadingHTTPServer):
    """The instance metadata service, version 2, as far as the drain daemon asks it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, str] = {"meta-data/instance-id": "i-0123456789abcdef0"}
        self.token = "first"
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        self._answer(200, self.server.token)

    def do_GET(self) -> None:
        path = self.path.removeprefix("/latest/")
        self.server.asked.append(path)
        if self.headers.get("X-aws-ec2-metadata-token") != self.server.token:
            self._answer(401, "")
        elif path in self.server.answers:
            self._answer(200, self.server.answers[path])
        else:
            self._answer(404, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Daemon:
    """drain.py as a process; `systemctl` and `aws` on its path write down what they are called with."""

    def __init__(self, metadata: Metadata, folder: Path, systemctl: str = "exit 0") -> None:
        for name, body in (("systemctl", systemctl), ("aws", "exit 0")):
            command = folder / name
            command.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{body}\n')
            command.chmod(0o755)
        self._calls = folder / "calls"
        arguments = ["--region", "us-west-2", "--group", "workers", "--hook", "drain", "--stop-seconds", "2"]
        arguments += ["--metadata", metadata.url, "--poll-seconds", "0.05"]
        self.process = subprocess.Popen(
            [sys.executable, "-I", DRAIN, *arguments],
            env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[str, list[str]]:
        """What it said, and what it called."""
        said, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return said, self._calls.read_text().splitlines()

    @property
    def called(self) -> bool:
        return self._calls.exists()


COMPLETE = (
    "aws autoscaling complete-lifecycle-action --region us-west-2 --auto-scaling-group-name workers "
    "--lifecycle-hook-name drain --instance-id i-0123456789abcdef0 --lifecycle-action-result CONTINUE"
)
STOP = "systemctl stop mtrl-adapter.service"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("meta-data/autoscaling/target-lifecycle-state", "Terminated", "autoscaling"),
        ("meta-data/spot/instance-action", '{"action": "terminate"}', "spot"),
    ],
)
def test_the_end_is_noticed_and_the_worker_drained(
    metadata: Metadata, tmp_path: Path, path: str, value: str, why: str
) -> None:
    metadata.answers["meta-data/autoscaling/target-lifecycle-state"] = "InService"
    daemon = Daemon(metadata, tmp_path)
    time.sleep(0.5)
    assert not daemon.called, "nothing has ended yet"
    metadata.answers[path] = value
    said, calls = daemon.end()
    assert calls == [STOP, COMPLETE], "the group goes on only when the worker is gone"
    assert f"draining: {why}" in said


def test_a_token_that_is_no_longer_taken_is_replaced(metadata: Metadata, tmp_path: Path) -> None:
    daemon = Daemon(metadata, tmp_path)
    while len(metadata.asked) < 4:
        time.sleep(0.02)
    metadata.token = "second"
    metadata.answers["meta-data/spot/instance-action"] = "{}"
    assert daemon.end()[1] == [STOP, COMPLETE]


def test_a_worker_that_hangs_does_not_hold_the_group(metadata: Metadata, tmp_path: Path) -> None:
    metadata.answers["meta-data/spot/instance-action"] = "{}"
    said, calls = Daemon(metadata, tmp_path, systemctl="exec sleep 60").end()
    assert calls == [STOP, COMPLETE]
    assert "still running after 2.0 s" in said


def test_the_daemon_outlives_a_silent_metadata_service(metadata: Metadata, tmp_path: Path) -> None:
    metadata.answers.clear()
    metadata.token = ""
    daemon = Daemon(metadata, tmp_path)
    time.sleep(0.5)
    assert daemon.process.poll() is None
    metadata.token = "later"
    metadata.answers |= {
        "meta-data/instance-id": "i-0123456789abcdef0",
        "meta-data/spot/instance-action": "{}",
    }
    assert daemon.end()[1] == [STOP, COMPLETE]

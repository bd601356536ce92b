"""What adapters/packages holds fits together: requirements, image, unit and installer."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.packaging import vendor
from infra.packaging.lock import base_dependencies, normalized
from infra.packaging.stage import HTTP_COMMAND, QUEUE_COMMAND
from infra.targets.user_data import HEALTH_FILE
from tests.infra.packaging_kit import REQUIREMENTS, ROOT, packages_in, pins, staged


def closure(requirements: list[str]) -> set[str]:
    """All that some requirements need on a target, from the metadata of what is installed here."""
    target = {
        "python_version": "3.12",
        "python_full_version": "3.12.1",
        "platform_machine": "aarch64",
        "extra": "",
    }
    found: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        need = waiting.pop()
        name = normalized(need.name)
        if name not in found and (need.marker is None or need.marker.evaluate(target)):
            found.add(name)
            waiting += [Requirement(each) for each in distribution(name).requires or []]
    return found


def test_the_requirements_are_the_base_dependencies_and_all_they_need() -> None:
    assert set(pins(REQUIREMENTS)) == closure(base_dependencies(ROOT))


def test_the_requirements_are_those_of_the_constraints_and_have_hashes() -> None:
    constraints = pins(ROOT / "constraints.txt")
    assert pins(REQUIREMENTS) == {name: constraints[name] for name in pins(REQUIREMENTS)}
    for block in re.split(r"\n(?=\w)", REQUIREMENTS.read_text(encoding="utf-8").split("\n", 1)[1]):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def test_credentials_of_a_private_index_can_enter_only_as_a_build_secret() -> None:
    text = (ROOT / "adapters/packages/container/Dockerfile").read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if not line.startswith("#")]
    declared = [line.split()[1].split("=")[0] for line in code if line.startswith(("ARG", "ENV"))]
    assert declared == ["BASE_IMAGE", "PYTHONPATH"]
    assert not re.search(
        r"index|PIP_|pip\.conf|netrc", re.sub(r"--mount=type=secret\S+", "", "\n".join(code))
    )
    assert "RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf" in text
    assert "USER 10001:10001" in code
    commands = [tuple(json.loads(line[4:])) for line in code if line.startswith("CMD")]
    assert commands == [HTTP_COMMAND, QUEUE_COMMAND], "what is built without a choice is the last"


def test_the_unit_runs_the_worker_where_the_installer_puts_it(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    folder = staged("ec2", tmp_path, packages_in(tmp_path / "vendor"))
    unit = (folder / "mtrl-adapter.service").read_text()
    assert "ExecStart=/usr/bin/python3.12 -m adapters.entrypoints.queue\n" in unit
    assert "KillMode=mixed\n" in unit
    for hardening in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "PrivateTmp=yes",
    ):
        assert f"{hardening}\n" in unit
    agent = json.loads((folder / "cloudwatch-agent.json").read_text())
    files = agent["logs"]["logs_collected"]["files"]["collect_list"]
    assert {f"append:{each['file_path']}" for each in files} == set(re.findall(r"append:\S+", unit))
    assert os.access(folder / "install.sh", os.X_OK)


RESTART = "systemctl try-restart mtrl-adapter.service\n"


@pytest.mark.parametrize(("age", "called"), [(0, ""), (170, ""), (190, RESTART), (None, RESTART)])
def test_a_worker_without_a_sign_of_life_is_restarted(tmp_path: Path, age: int | None, called: str) -> None:
    """What the timer starts, by the unit's own line, with a `systemctl` that writes down its call."""
    (tmp_path / "vendor").mkdir()
    folder = staged("ec2", tmp_path, packages_in(tmp_path / "vendor"))
    [command] = re.findall(r"^ExecStart=(.*)$", (folder / "mtrl-health.service").read_text(), re.MULTILINE)
    command = command.replace("/usr/bin/python3.12", sys.executable).replace("/opt/mtrl", str(folder))
    alive, calls, systemctl = tmp_path / "alive", tmp_path / "calls", tmp_path / "systemctl"
    calls.touch()
    systemctl.write_text(f'#!/bin/sh\necho "systemctl $*" >>{calls}\n')
    systemctl.chmod(0o755)
    if age is not None:
        alive.touch()
        os.utime(alive, (time.time() - age, time.time() - age))
    environ = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "MTRL_HEALTH_FILE": str(alive)}
    done = subprocess.run(shlex.split(command), env=environ, capture_output=True, text=True, check=True)
    assert calls.read_text() == called
    assert bool(done.stderr) == bool(called), "and the log says why"


def test_the_health_timer_sees_what_the_worker_writes() -> None:
    folder = ROOT / "adapters/packages/ec2"
    worker = (folder / "mtrl-adapter.service").read_text()
    [runtime] = re.findall(r"^RuntimeDirectory=(.*)$", worker, re.MULTILINE)
    assert Path(HEALTH_FILE).parent == Path("/run") / runtime, "PrivateTmp hides /tmp from others"
    assert "ExecStartPre=-/usr/bin/touch ${MTRL_HEALTH_FILE}\n" in worker, (
        "or it is restarted while it starts"
    )
    health = (folder / "mtrl-health.service").read_text()
    assert "ExecCondition=/usr/bin/systemctl is-active --quiet mtrl-adapter.service\n" in health, "a drain"
    install = (folder / "install.sh").read_text()
    assert "systemctl enable --quiet mtrl-health.timer" in install


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--log-group is missing"),
        (["--log-group", "a|b"], "no log group's name"),
        (["--log-groups", "a"], "unknown argument --log-groups"),
        (["--log-group", "/mtrl/dev"], "unpack the bundle in /opt/mtrl"),
    ],
)
def test_the_installer_refuses_before_it_changes_anything(arguments: list[str], message: str) -> None:
    script = ROOT / "adapters/packages/ec2/install.sh"
    done = subprocess.run(["bash", str(script), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_versions_of_python_agree() -> None:
    """Vendored packages are compiled for one CPython; unit, installer and image must run that one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    for path in ("container/Dockerfile", "ec2/mtrl-adapter.service", "ec2/install.sh"):
        found = set(re.findall(r"python:?(3\.\d+)", (ROOT / "adapters/packages" / path).read_text()))
        assert found == {vendor.PYTHON}, path

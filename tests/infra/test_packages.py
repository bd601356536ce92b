"""What adapters/packages holds fits together: requirements, image, unit and installer."""

import json
import os
import re
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.packaging import vendor
from infra.packaging.lock import base_dependencies, normalized
from infra.packaging.stage import HTTP_COMMAND, QUEUE_COMMAND
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

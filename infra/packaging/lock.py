"""Rewrites adapters/packages/requirements.txt: what is installed in an adapter, pinned and with hashes.

    python -m infra.packaging.lock        (`make lock` runs it after constraints.txt)

The base dependencies of pyproject.toml and all they need, at the versions of constraints.txt, for every
platform and Python that an adapter is built for. Hashes are those of the wheels that pip would take.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.packaging.vendor import REQUIREMENTS, wheel_options

BUILDS = [(platform, python) for platform in ("aarch64", "x86_64") for python in ("3.12", "3.13")]
HEADER = "# Made by `make lock` from pyproject.toml and constraints.txt: all that an adapter installs.\n"


def base_dependencies(root: Path) -> list[str]:
    """The requirements of the kit itself, without any extra."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def normalized(name: str) -> str:
    """A distribution's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(root: Path) -> str:
    """The text of the requirements file. Needs the network."""
    pins: dict[str, set[str]] = {}
    for platform, python in BUILDS:
        for name, version, sha256 in _resolve(root, platform, python):
            pins.setdefault(f"{normalized(name)}=={version}", set()).add(sha256)
    return HEADER + "".join(_lines(pin, pins[pin]) for pin in sorted(pins))


def _lines(pin: str, hashes: set[str]) -> str:
    return " \\\n    ".join([pin, *(f"--hash=sha256:{each}" for each in sorted(hashes))]) + "\n"


def _resolve(root: Path, platform: str, python: str) -> Iterator[tuple[str, str, str]]:
    """Name, version and hash of every wheel that pip would install there."""
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--disable-pip-version-check", "--report", str(report), "--target", work]
        command += [*wheel_options(platform, python), "-c", str(root / "constraints.txt")]
        subprocess.run([*command, *base_dependencies(root)], check=True)  # noqa: S603 - pip, our options
        installs: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    for each in installs:
        sha256 = each["download_info"]["archive_info"]["hashes"]["sha256"]
        yield each["metadata"]["name"], each["metadata"]["version"], sha256


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m infra.packaging.lock", description=__doc__).parse_args()
    root = Path.cwd()
    (root / REQUIREMENTS).write_text(lock(root), encoding="utf-8")
    sys.stdout.write(f"{REQUIREMENTS}\n")

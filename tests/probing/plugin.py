"""Planted hacks as installed plug-ins: a folder on PYTHONPATH with the metadata of a small distribution."""

import os
import subprocess
import sys
from pathlib import Path

from tests.probing import hacks

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> dict[str, str]:
    """Register every hack as an environment of its own name; the variables of a process that sees them."""
    metadata = folder / "mtrl_hacks-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mtrl-hacks\nVersion: 0\n")
    entries = [f"{name} = tests.probing.hacks.{name}:create" for name in hacks.NAMES]
    entries.append("rehearsed = tests.probing.rehearsed:create")
    (metadata / "entry_points.txt").write_text("\n".join(["[mtrl.environments]", *entries, ""]))
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": "200", "NO_COLOR": "1"}


def mtrl(
    environ: dict[str, str], *arguments: str, timeout: float = 600
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mtrl", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environ, check=False
    )

"""Whoever asks a program that writes files what it does gets an answer, and the files stay as they are."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOMAINS = "adapters/environments/sop/domains"


@pytest.mark.parametrize(
    ("module", "written"),
    [
        ("infra.settings_table", "docs/deployment.md"),
        ("infra.idle_cost", "docs/deployment.md"),
        ("infra.packaging.lock", "adapters/packages/requirements.txt"),
        ("adapters.environments.sop.generator", f"{DOMAINS}/returns_desk/test_set_with_outputs.csv"),
    ],
)
def test_help_is_shown_and_nothing_is_written(module: str, written: str) -> None:
    before = (ROOT / written).stat().st_mtime_ns
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m {module} [-h]")
    assert (ROOT / written).stat().st_mtime_ns == before

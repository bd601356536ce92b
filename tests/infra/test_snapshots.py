"""One snapshot a target: the stack that places the adapter, with what changes by itself masked.

A difference is not wrong, but it is to be looked at. `MTRL_SNAPSHOTS=write make test
ARGS=tests/infra/test_snapshots.py` takes new ones.
"""

import json
import os
import re
from pathlib import Path

import pytest

from tests.infra.conftest import Assemblies

FOLDER = Path(__file__).parent / "snapshots"
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


@pytest.mark.parametrize("target", ["agentcore", "ec2", "eks", "fargate"])
def test_the_stack_of_a_target_is_as_it_was(assemblies: Assemblies, target: str) -> None:
    template = assemblies.templates("dev", target)[f"adapter-{target}"]
    found = DIGEST.sub("DIGEST", json.dumps(template["Resources"], indent=1, sort_keys=True)) + "\n"
    path = FOLDER / f"{target}.json"
    if os.environ.get("MTRL_SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


def test_assets_are_the_same_in_a_second_synthesis(assemblies: Assemblies, tmp_path: Path) -> None:
    """The digest of an asset is its content's: nothing of the machine or the clock is in it."""
    again = Assemblies(tmp_path)
    for target in ("ec2", "fargate"):
        name = f"mtrl-dev-sop-adapter-{target}.assets.json"
        first = (assemblies.folder("dev", target) / name).read_text()
        assert (again.folder("dev", target) / name).read_text() == first

"""A SOP-Bench checkout beside our domains: the licence gate, and the real thing where one is given."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.environments import sop
from adapters.environments.sop.checkout import DATA_FOLDER
from tests.environments.folders import METADATA, write_domain
from tests.environments.play import SHIPPED

CHECKOUT = os.environ.get("MTRL_TEST_SOP_BENCH", "")
REAL = {"MTRL_SOP_BENCH": CHECKOUT, "MTRL_SOP_BENCH_LICENSE": "accepted"}
needs_checkout = pytest.mark.skipif(
    not CHECKOUT, reason="set MTRL_TEST_SOP_BENCH to a SOP-Bench checkout to run against it"
)


def _accepted(root: Path) -> dict[str, str]:
    return {"MTRL_SOP_BENCH": str(root), "MTRL_SOP_BENCH_LICENSE": "accepted"}


def test_the_licence_must_be_accepted(tmp_path: Path) -> None:
    write_domain(tmp_path / DATA_FOLDER / "tiny")
    for license_setting in ({}, {"MTRL_SOP_BENCH_LICENSE": "yes"}):
        with pytest.raises(ValueError, match="CC BY-NC") as caught:
            sop.create({"MTRL_SOP_BENCH": str(tmp_path), **license_setting})
        assert "forbids training" in str(caught.value)
        assert "MTRL_SOP_BENCH_LICENSE=accepted" in str(caught.value)


async def test_a_checkout_is_served_beside_ours(tmp_path: Path) -> None:
    write_domain(tmp_path / DATA_FOLDER / "tiny")
    for root in (tmp_path, tmp_path / DATA_FOLDER):
        environment = sop.create(_accepted(root))
        assert set(environment.domains) == {*SHIPPED, "tiny"}
        (task, _) = sop.tasks(environment.domains["tiny"])
        async with environment.open(task) as episode:
            assert (
                '<final_output>{"final status": "<value>"}</final_output>' in episode.messages[0]["content"]
            )
            assert json.loads((await episode.call("look", {"key": "a"})).content)["key"] == "a"


def test_the_folder_names_the_domain_whatever_its_metadata_says(tmp_path: Path) -> None:
    write_domain(tmp_path / "tiny", metadata={**METADATA, "name": "another"})
    domain = sop.load_domain("tiny", _accepted(tmp_path))
    assert domain.name == "tiny"
    assert sop.tasks(domain)[0].input["domain"] == "tiny"


def test_a_path_without_domains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no domain there"):
        sop.list_domains(_accepted(tmp_path))


def test_a_name_that_the_kit_has_is_refused(tmp_path: Path) -> None:
    write_domain(tmp_path / "returns_desk")
    with pytest.raises(ValueError, match="'returns_desk', as the kit has"):
        sop.list_domains(_accepted(tmp_path))


def test_the_notice_shows_the_folders_own_licence(tmp_path: Path) -> None:
    folder = write_domain(tmp_path / "tiny")
    assert "CC BY-NC 4.0" in sop.license_notice(folder)
    (folder / "LICENSE.md").write_text("No training on this.\nSecond line.\n")
    assert "No training on this." in sop.license_notice(folder)


@needs_checkout
def test_every_folder_of_the_checkout_loads() -> None:
    names = [name for name in sop.list_domains(REAL) if name not in SHIPPED]
    assert len(names) == 14
    environment = sop.create(REAL)
    for name in names:
        domain = environment.domains[name]
        assert domain.rows
        assert domain.tools
        assert sop.tasks(domain)


@needs_checkout
async def test_episodes_of_the_checkout_open_and_every_tool_answers_twice_alike() -> None:
    environment = sop.create(REAL)
    for name in set(environment.domains) - set(SHIPPED):
        domain = environment.domains[name]
        for task in sop.tasks(domain)[:3]:
            row = next(row for row in domain.rows if task.input["case"].items() <= row.items())
            async with environment.open(task) as episode:
                for tool in episode.tools:
                    function = tool["function"]
                    arguments = _from_row(function["parameters"], row)
                    first = await episode.call(function["name"], arguments)
                    assert first == await episode.call(function["name"], arguments)
                    json.loads(first.content)


def _from_row(schema: Mapping[str, Any], row: Mapping[str, str]) -> dict[str, Any]:
    """Arguments for every property, from the row's column of that name where there is one."""
    return {name: _value(part, row.get(name)) for name, part in schema.get("properties", {}).items()}


def _value(schema: Mapping[str, Any], cell: str | None) -> Any:
    kind = schema.get("type")
    if kind in ("number", "integer"):
        try:
            return float(cell or 1) if kind == "number" else int(float(cell or 1))
        except ValueError:
            return 1
    if kind == "boolean":
        return cell in ("True", "true", "yes")
    if kind == "array":
        return [cell or "x"]
    if kind == "object":
        return {}
    return cell if cell is not None else str(next(iter(schema.get("enum", ["x"]))))

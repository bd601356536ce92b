"""Each check fails on what it is for, with evidence, and nothing else fails; shipped environments pass."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtrl.checking import RULES, Effort, Evidence, gather, judge, make_subject
from mtrl.checking.rules import tool_latency
from mtrl.datasets.checks import Check, DataSet, Rules
from mtrl.datasets.rows import make_row
from mtrl.policies import choose
from tests.checking.broken import BREAKAGES, IN_ANOTHER_PROCESS, Broken
from tests.checking.small import Small

ALL = [
    "tasks_playable",
    "determinism",
    "isolation",
    "teardown",
    "tool_schemas",
    "tools_reachable",
    "tool_errors",
    "tool_latency",
    "target_reachable",
    "target_shown",
    "answer_format",
    "turn_budget",
    "turn_exhaustion",
    "token_cap",
    "reward_range",
    "reward_variance",
    "reward_components",
    "reward_per_turn",
    "shaping_bound",
    "success_without_score",
    "reward_order",
    "reward_correlation",
    "base_above_zero",
    "completion_and_correctness",
]
OF_DATA = ["tasks", "ids", "duplicates", "leakage", "sealed", "batch", "prompt_size", "tokens"]
OF_A_MODEL = {"base_above_zero"}
OF_FILES = {"dataset_sealed", "dataset_batch", "dataset_prompt_size", "dataset_tokens", "dataset_tasks"}
"""Broken below, or in tests of `mtrl dataset check`, whose checks these are."""
FEW = Effort(tasks=8, groups=6, varied=4, replayed=2, second_process=False)


def _gathered(reference: str, domain: str | None = None, effort: Effort = FEW, **more: Any) -> Evidence:
    return asyncio.run(gather(make_subject(reference, domain, **more), effort))


def _failed(evidence: Evidence) -> dict[str, Check]:
    return {each.id: each for each in judge(evidence) if each.status == "fail"}


def test_the_inventory_is_pinned_and_every_check_is_broken_by_some_fixture() -> None:
    found = judge(_gathered("tests.checking.broken:sound", effort=replace(FEW, tasks=2, groups=1)))
    assert len(RULES) == len(ALL)
    assert [each.id for each in found] == [
        *ALL,
        *(f"dataset_{each}" for each in OF_DATA if each not in ("sealed", "batch")),
    ]
    broken = set().union(*BREAKAGES.values())
    assert {each.id for each in found} - broken - OF_A_MODEL - OF_FILES == set()
    assert len(BREAKAGES) >= 20


def test_a_sound_environment_passes_every_check() -> None:
    effort = Effort(groups=13, varied=2, replayed=1)
    found = judge(_gathered("tests.checking.broken:sound", effort=effort))
    assert [each for each in found if each.status != "pass"] == []
    assert all(each.evidence for each in found)


@pytest.mark.parametrize("broken", BREAKAGES, ids=lambda broken: broken.__name__)
def test_what_is_broken_fails_its_check_and_no_other(
    broken: type[Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_latency, "FAIL_SECONDS", 0.03)
    # A sample of the tasks does not show that no task needs a tool.
    tasks = None if "tools_reachable" in BREAKAGES[broken] else FEW.tasks
    effort = replace(FEW, tasks=tasks, second_process=broken in IN_ANOTHER_PROCESS)
    failed = _failed(_gathered(f"tests.checking.broken:{broken.__name__}", effort=effort))
    # A machine that is busy makes tools slow; only the slow tool must be found slow.
    if "tool_latency" not in BREAKAGES[broken]:
        failed.pop("tool_latency", None)
    assert failed.keys() == BREAKAGES[broken]
    assert all(each.evidence and each.next for each in failed.values())


@pytest.mark.parametrize(
    ("name", "domain", "second_process"),
    [
        ("service_desk", "refunds", True),
        ("sql", "guided", False),
        ("sql", "open", False),
        ("sop", "returns_desk", False),
        ("sop", "loan_hardship", False),
        ("sop", "lab_intake", False),
    ],
)
def test_shipped_environments_pass(name: str, domain: str, second_process: bool) -> None:
    effort = Effort(tasks=12, groups=4, varied=2, replayed=1, second_process=second_process)
    found = judge(_gathered(name, domain, effort))
    assert [each for each in found if each.status == "fail"] == []
    # The tiny policy is no language model: that it wanders, or gets nowhere, is said and fails nothing.
    expected = {"turn_exhaustion", "base_above_zero", "reward_variance"}
    warned = {each.id for each in found if each.status == "warn"}
    assert warned <= expected | (set() if second_process else {"teardown"})


def test_a_model_that_scores_nothing_fails_where_the_tiny_policy_is_excused(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('[{"content": "I do not know."}]')
    failed = _failed(
        _gathered("tests.checking.broken:sound", policy=choose("--policy", f"scripted:{script}"))
    )
    assert failed.keys() == {"base_above_zero", "reward_variance"}
    assert "mean score 0.000" in failed["base_above_zero"].evidence


def test_the_files_that_a_job_reads_are_checked_with_the_checks_of_data_sets() -> None:
    tasks = [Small().task(number) for number in range(30)]
    rows = [make_row(f"row {n}", task.to_prompt()) for n, task in enumerate(tasks)]
    data = DataSet({"train": [*rows[:20], rows[0]], "evaluation": rows[19:]})
    subject = make_subject("tests.checking.broken:sound", data=data)
    assert subject.splits.keys() == {"train", "evaluation"}
    evidence = asyncio.run(gather(subject, FEW, Rules(batch=128, require_sealed=True)))
    found = _failed(evidence)
    assert found.keys() == {f"dataset_{each}" for each in ("ids", "duplicates", "leakage", "sealed", "batch")}
    assert "30 rows" not in found["dataset_batch"].evidence
    assert "21 rows, global_batch_size 128" in found["dataset_batch"].evidence


def test_an_environment_that_does_not_open_is_found_out_and_breaks_nothing() -> None:
    evidence = _gathered("tests.checking.broken:does_not_open")
    failed = _failed(evidence)
    assert "no licence server" in failed["tool_schemas"].evidence
    assert "reward_range" in failed
    # What nothing was seen of cannot have passed.
    of_the_environment = [each for each in judge(evidence) if each.id in ALL]
    assert [each.id for each in of_the_environment if each.status == "pass"] == []
    assert all(each.evidence and (each.next or each.id == "teardown") for each in of_the_environment)


def test_where_nothing_can_be_told_nothing_passes() -> None:
    """Every rollout right, and no tool on offer: no bad reward and no tool could have been seen."""
    evidence = _gathered("tests.checking.broken:sound", effort=replace(FEW, tasks=2, groups=0, varied=1))
    evidence.variants = []
    evidence.openings = [replace(each, tools=[]) for each in evidence.openings]
    found = {each.id: each for each in judge(evidence)}
    for check in ("reward_order", "shaping_bound", "tools_reachable"):
        assert (found[check].status, bool(found[check].next)) == ("warn", True), check


def test_without_a_demonstration_the_checks_that_need_one_say_so() -> None:
    found = {each.id: each for each in judge(_gathered("tests.checking.broken:shows_nothing"))}
    assert {each.id for each in found.values() if each.status == "fail"} == set()
    for check in ("target_reachable", "target_shown", "tools_reachable", "turn_budget"):
        assert found[check].status == "warn", check
        assert found[check].next

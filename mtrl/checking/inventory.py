"""All rules, in the order of the table."""

from collections.abc import Callable
from dataclasses import replace

from mtrl.checking.evidence import Evidence
from mtrl.checking.rules import (
    answer_format,
    base_above_zero,
    completion_and_correctness,
    determinism,
    isolation,
    reward_components,
    reward_correlation,
    reward_order,
    reward_per_turn,
    reward_range,
    reward_variance,
    shaping_bound,
    success_without_score,
    target_reachable,
    target_shown,
    tasks_playable,
    teardown,
    token_cap,
    tool_errors,
    tool_latency,
    tool_schemas,
    tools_reachable,
    turn_budget,
    turn_exhaustion,
)
from mtrl.datasets import checks as dataset

Rule = Callable[[Evidence], dataset.Check]

RULES: tuple[Rule, ...] = (
    tasks_playable.check,
    determinism.check,
    isolation.check,
    teardown.check,
    tool_schemas.check,
    tools_reachable.check,
    tool_errors.check,
    tool_latency.check,
    target_reachable.check,
    target_shown.check,
    answer_format.check,
    turn_budget.check,
    turn_exhaustion.check,
    token_cap.check,
    reward_range.check,
    reward_variance.check,
    reward_components.check,
    reward_per_turn.check,
    shaping_bound.check,
    success_without_score.check,
    reward_order.check,
    reward_correlation.check,
    base_above_zero.check,
    completion_and_correctness.check,
)
OF_FILES = ("sealed", "batch")
"""Checks of a data set that are about the files that a job reads, not about tasks made on the fly."""


def judge(evidence: Evidence) -> list[dataset.Check]:
    """The verdict of every rule, then of every check of the data set."""
    return [rule(evidence) for rule in RULES] + judge_data(evidence)


def judge_data(evidence: Evidence) -> list[dataset.Check]:
    """The checks of `mtrl dataset check`, over the rows that were given or the environment's own tasks."""
    found = dataset.check(evidence.subject.data, evidence.rules)
    kept = [each for each in found if evidence.subject.data_is_given or each.id not in OF_FILES]
    return [replace(each, id=f"dataset_{each.id}") for each in kept]

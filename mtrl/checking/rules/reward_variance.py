"""The base policy's rewards differ, within groups too: advantages are what a group's rewards differ by."""

import statistics

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_variance"
ENOUGH = 100
FEW_GROUPS = 0.25


def check(evidence: Evidence) -> Check:
    groups = [[p.reward.value for p in group if p.reward] for group in evidence.baselines]
    values = [value for group in groups for value in group]
    if not values:
        return Check(ID, "fail", "no baseline rollout was graded", "See reward_range.")
    spread = sum(len(set(group)) > 1 for group in groups)
    text = (
        f"{len(values)} baseline rollouts: mean {statistics.fmean(values):.3f}, "
        f"std {statistics.pstdev(values):.3f}; {spread} of {len(groups)} groups have any spread"
    )
    if len({reward for _, reward, _ in evidence.graded}) == 1:
        return Check(
            ID, "fail", f"{text}; every other rollout has the same reward, too", "Tell answers apart."
        )
    if not spread:
        if evidence.subject.policy_is_a_model:
            next_act = "No gradient can come of this: make tasks easier, or pay for parts within the bound."
            return Check(ID, "fail", text, next_act)
        next_act = (
            "The tiny policy gets nowhere here; it is no language model. Measure yours: --policy openai:URL."
        )
        return Check(ID, "warn", text, next_act)
    if len(values) < ENOUGH:
        return Check(ID, "warn", text, f"Fewer than {ENOUGH} rollouts say little.")
    if spread < FEW_GROUPS * len(groups):
        return Check(ID, "warn", text, "Most groups give no gradient: mix in easier tasks.")
    return Check(ID, "pass", text)

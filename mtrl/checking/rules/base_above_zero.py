"""The base policy is above zero on the score: from nothing, nothing is learned."""

import statistics

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "base_above_zero"


def check(evidence: Evidence) -> Check:
    scores = [played.score.value for played in evidence.baseline if played.score is not None]
    if not scores:
        return Check(ID, "fail", "no baseline rollout has a score", "See reward_range.")
    mean, above = statistics.fmean(scores), sum(score > 0 for score in scores)
    policy = f"base policy {evidence.subject.policy}"
    text = f"{policy}: mean score {mean:.3f}, {above} of {len(scores)} rollouts above 0"
    if above:
        return Check(ID, "pass", text)
    if evidence.subject.policy_is_a_model:
        return Check(
            ID, "fail", text, "Start with easier tasks, or with a stronger model or a fine-tuned one."
        )
    next_act = "It is no language model, so this tells little. Measure yours: --policy openai:URL."
    return Check(ID, "warn", text, next_act)

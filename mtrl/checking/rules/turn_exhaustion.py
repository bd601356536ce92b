"""Few baseline rollouts spend all turns without an answer."""

from adapters.contract import StopReason
from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "turn_exhaustion"
MOST, TINY_MOST = 0.10, 0.50
"""The service's rule for a model. The tiny policy wanders by its nature."""


def check(evidence: Evidence) -> Check:
    played = evidence.begun
    if not played:
        return Check(ID, "fail", "no baseline rollout was played", "See the checks above.")
    share = sum(each.stop_reason is StopReason.MAX_TURNS for each in played) / len(played)
    text = f"{share:.0%} of {len(played)} baseline rollouts spent all turns unanswered (rule: < {MOST:.0%})"
    if share < MOST:
        return Check(ID, "pass", text)
    if evidence.subject.policy_is_a_model or share >= TINY_MOST:
        return Check(ID, "fail", text, "Raise max_turns, shorten the procedure, or say when to answer.")
    next_act = "The tiny policy wanders; measure your model before you worry: --policy openai:URL."
    return Check(ID, "warn", text, next_act)

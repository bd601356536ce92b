"""Completion and correctness are two figures: a rollout that did not answer has no score."""

from adapters.contract import StopReason
from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "completion_and_correctness"


def check(evidence: Evidence) -> Check:
    scored = [played for played in evidence.baseline if played.score is not None]
    if not scored:
        return Check(ID, "fail", "no baseline rollout has a score", "See reward_range.")
    complete = [played for played in scored if played.stop_reason is StopReason.ANSWERED]
    paid = [p for p in scored if p.stop_reason is not StopReason.ANSWERED and p.score and p.score.value > 0]
    right = sum(played.score.value > 0 for played in complete if played.score)
    text = (
        f"{len(complete)} of {len(scored)} baseline rollouts answered, {right} of these with a score above 0"
    )
    if paid:
        text += f"; {len(paid)} have a score without an answer ({paid[0].stop_reason})"
        return Check(ID, "fail", text, "Score 0 for a rollout that gave no answer.")
    if not complete:
        return Check(ID, "fail", text, "No rollout ends: look at `reply` and at max_turns.")
    return Check(ID, "pass", text)

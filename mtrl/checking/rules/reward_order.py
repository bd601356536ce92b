"""No rollout with a lower score outranks one with a higher score."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_order"


def check(evidence: Evidence) -> Check:
    graded = sorted(evidence.graded, key=lambda each: each[2])
    if not graded:
        return Check(ID, "fail", "no episode was graded", "See reward_range.")
    bound = evidence.subject.terms.shaping_bound
    worst: tuple[float, str] = (0.0, "")
    best_below: dict[float, tuple[float, str]] = {}
    for kind, reward, score in graded:
        for lower, (top, who) in best_below.items():
            if lower < score and top - reward > worst[0]:
                text = f"{who} earns {top:.3f} with a score of {lower:g}, {kind} {reward:.3f} with {score:g}"
                worst = (top - reward, text)
        if reward > best_below.get(score, (-2.0, ""))[0]:
            best_below[score] = (reward, kind)
    if worst[0] > bound:
        return Check(
            ID, "fail", f"{worst[1]}: more than {bound:g} apart", "The outcome must dominate all shaping."
        )
    if worst[1]:
        return Check(ID, "warn", worst[1], "A policy that learns from this learns the worse of the two.")
    if graded[0][2] == graded[-1][2]:
        text = f"{len(graded)} rollouts, and all have the same score"
        return Check(ID, "warn", text, "Nothing can be told: show how tasks are done (`demonstrate`).")
    return Check(ID, "pass", f"{len(graded)} rollouts, and none outranks one with a higher score")

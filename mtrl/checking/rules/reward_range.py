"""Rewards are finite and in [-1, 1], scores in [0, 1], and grading does not raise."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_range"


def check(evidence: Evidence) -> Check:
    bad = [
        f"{kind}: {fault}"
        for kind, played in evidence.all_played
        for fault in played.faults
        if fault.startswith(("reward", "score"))
    ]
    if bad:
        next_act = "Clip nothing: find out why. A reward that cannot be sent is replaced by 0 in training."
        return Check(ID, "fail", f"{len(bad)} gradings failed; {bad[0]}", next_act)
    values = [reward for _, reward, _ in evidence.graded]
    if not values:
        return Check(ID, "fail", "no episode was graded", "See the checks above.")
    return Check(ID, "pass", f"{len(values)} rewards from {min(values):.3f} to {max(values):.3f}")

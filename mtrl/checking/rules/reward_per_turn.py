"""Rewards a turn, where there are any, are as many as turns."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_per_turn"


def check(evidence: Evidence) -> Check:
    played = [each for _, each in evidence.all_played if each.reward is not None]
    if not played:
        return Check(ID, "fail", "no episode was graded", "See reward_range.")
    given = [each for each in played if each.reward is not None and each.reward.per_turn]
    wrong = [
        (len(each.reward.per_turn), len(each.transcript.turns))
        for each in given
        if each.reward is not None and len(each.reward.per_turn) != len(each.transcript.turns)
    ]
    if wrong:
        text = f"{len(wrong)} of {len(played)} rollouts; first: {wrong[0][0]} values for {wrong[0][1]} turns"
        next_act = (
            "One value a turn, also for a turn without a call; else the service gets one for the episode."
        )
        return Check(ID, "fail", text, next_act)
    if not given:
        return Check(ID, "pass", f"{len(played)} rollouts: one value for the episode, none a turn")
    return Check(ID, "pass", f"{len(given)} of {len(played)} rollouts with as many values as turns")

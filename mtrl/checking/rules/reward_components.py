"""A reward comes with its components, the same ones every time, each a finite number."""

import math

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_components"


def check(evidence: Evidence) -> Check:
    rewards = [played.reward for _, played in evidence.all_played if played.reward is not None]
    names = {tuple(sorted(reward.components)) for reward in rewards}
    if not names:
        return Check(ID, "fail", "no episode was graded", "See reward_range.")
    if () in names:
        bare = sum(not reward.components for reward in rewards)
        text = f"{bare} of {len(rewards)} rewards have no components"
        return Check(ID, "fail", text, "Return each part by name: a sum alone hides which part is hacked.")
    if len(names) > 1:
        one, other = sorted(names)[:2]
        text = f"components vary: {', '.join(one)} and {', '.join(other)}"
        return Check(ID, "fail", text, "Return every component every time, 0 where it does not apply.")
    if any(not math.isfinite(value) for reward in rewards for value in reward.components.values()):
        return Check(
            ID, "fail", "a component is not a finite number", "Find out why; NaN spoils every average."
        )
    (only,) = names
    return Check(ID, "pass", f"{len(rewards)} rewards, each with {', '.join(only)}")

"""The turn budget is about 1.5 times what the longest demonstration takes."""

import math

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "turn_budget"
FACTOR, MANY = 1.5, 5.0


def check(evidence: Evidence) -> Check:
    budget = evidence.subject.environment.max_turns
    done = [p for p in evidence.demonstrations if p.score and p.score.value >= 1.0]
    if not done:
        return Check(
            ID, "warn", f"max_turns {budget}; no demonstration to hold it against", "See target_reachable."
        )
    longest = max(len(played.transcript.turns) for played in done)
    wanted = math.ceil(FACTOR * longest)
    rule = f"ceil({FACTOR} x {longest}) = {wanted}"
    text = f"max_turns {budget}; the longest demonstration takes {longest}, {rule}"
    if budget < longest:
        over = sum(len(played.transcript.turns) > budget for played in done)
        return Check(ID, "fail", f"{text}; {over} tasks cannot be finished", f"Set max_turns to {wanted}.")
    if budget < wanted:
        return Check(ID, "warn", text, f"Little room for a detour: set max_turns to {wanted}.")
    if budget > MANY * longest:
        return Check(ID, "warn", text, "A policy that wanders costs every turn of it. Lower max_turns.")
    return Check(ID, "pass", text)

"""What tools show under the name of a field of the target agrees with the target."""

from mtrl.checking.evidence import Evidence
from mtrl.checking.targets import CONTRADICTED, REFUSED, UNREACHABLE, survey
from mtrl.datasets.checks import Check

ID = "target_shown"


def check(evidence: Evidence) -> Check:
    begun = [played for played in evidence.demonstrations if played.transcript.turns]
    count = len(begun)
    if not count:
        return Check(ID, "warn", "no demonstration to look at", "See target_reachable.")
    found = survey(begun)
    text = ", ".join(f"{number} {state}" for state, number in found.tasks.items() if number)
    text = "; ".join([f"{count} tasks: {text}", *found.examples.values()])
    if found.tasks[CONTRADICTED] or found.tasks[UNREACHABLE] or found.tasks[REFUSED] == count:
        return Check(ID, "fail", text, "Correct the data or the tools, or take the tasks out.")
    if found.tasks[REFUSED]:
        return Check(ID, "warn", text, "Fine if the refusals are the case; else correct data or tools.")
    return Check(ID, "pass", text)

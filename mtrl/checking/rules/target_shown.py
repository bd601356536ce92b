"""What tools show under the name of a field of the target agrees with the target."""

from mtrl.checking.evidence import Evidence
from mtrl.checking.targets import CONTRADICTED, UNREACHABLE, survey
from mtrl.datasets.checks import Check

ID = "target_shown"


def check(evidence: Evidence) -> Check:
    if not evidence.demonstrations:
        return Check(ID, "warn", "no demonstration to look at", "See target_reachable.")
    found = survey(evidence.demonstrations)
    counts = ", ".join(f"{count} {state}" for state, count in found.tasks.items() if count)
    text = f"{len(evidence.demonstrations)} tasks: {counts}"
    wrong = [state for state in (CONTRADICTED, UNREACHABLE) if found.tasks[state]]
    if wrong:
        examples = "; ".join(found.examples[state] for state in wrong)
        return Check(
            ID, "fail", f"{text}; {examples}", "Correct the data or the tools, or take the tasks out."
        )
    return Check(ID, "pass", text)

"""Episodes that are open at once do not see each other."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "isolation"


def check(evidence: Evidence) -> Check:
    found = evidence.interleaved
    if not found.compared:
        return Check(ID, "fail", "no episode could be played", "See the checks above.")
    if found.differences:
        text = f"{len(found.differences)} of {found.compared} episodes differ; {found.differences[0]}"
        next_act = "Keep what an episode changes in the episode, not in the environment or the module."
        return Check(ID, "fail", text, next_act)
    return Check(ID, "pass", f"{found.compared} episodes, turn about: each as if it were alone")

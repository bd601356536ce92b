"""The same task and the same calls give the same transcript, in every process."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "determinism"


def check(evidence: Evidence) -> Check:
    found = evidence.repeated
    if evidence.remains is None and evidence.effort.second_process:
        return Check(
            ID, "fail", "; ".join(evidence.faults) or "nothing could be played again", "See the cause."
        )
    if not found.compared:
        return Check(ID, "fail", "no episode could be played again", "See the checks above.")
    if found.differences:
        text = f"{len(found.differences)} of {found.compared} episodes differ; {found.differences[0]}"
        next_act = "Seed what is random from the task; no clock, no hash order, no state outside the episode."
        return Check(ID, "fail", text, next_act)
    where = "here and in another process" if evidence.effort.second_process else "here"
    return Check(ID, "pass", f"{found.compared} episodes played again {where}: identical transcripts")

"""Every task that was tried opens: a job loses all rollouts of one that the environment refuses."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "tasks_playable"
NAMED = 3


def check(evidence: Evidence) -> Check:
    closed = [(p.task, f) for _, p in evidence.all_played for f in p.faults if f.startswith("opening")]
    broken = {id(task): (task, why) for task, why in (*evidence.refused, *closed)}
    tried = broken.keys() | {id(played.task) for _, played in evidence.all_played}
    if broken:
        named = [f"{evidence.subject.where(task)}: {why}" for task, why in list(broken.values())[:NAMED]]
        text = "; ".join([f"{len(broken)} of {len(tried)} tasks cannot be played", *named])
        return Check(ID, "fail", text, "Correct these tasks, or take them out.")
    if not tried:
        return Check(ID, "fail", "no task was tried", "See the cause.")
    return Check(ID, "pass", f"{len(tried)} tasks, and all of them opened")

"""The target of every task can be reached: its demonstration has the full score."""

from collections import Counter

from adapters.contract import Demonstrator
from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "target_reachable"


def check(evidence: Evidence) -> Check:
    if not isinstance(evidence.subject.environment, Demonstrator):
        next_act = "Give the environment `demonstrate(task)`: a policy that works the task by the procedure."
        return Check(ID, "warn", "the environment cannot show how its tasks are done", next_act)
    missed = [p for p in evidence.demonstrations if p.score is None or p.score.value < 1.0]
    count = len(evidence.demonstrations)
    if not count:
        return Check(ID, "fail", "no task could be demonstrated", "See tasks_playable.")
    if not missed:
        return Check(ID, "pass", f"{count} of {count} tasks were done by their demonstration")
    wrong = Counter(name for p in missed if p.score for name, right in p.score.fields.items() if not right)
    fields = f"; wrong most often: {', '.join(name for name, _ in wrong.most_common(3))}" if wrong else ""
    faults = next((f"; {p.faults[0]}" for p in missed if p.faults), "")
    names = ", ".join(p.task.id or "?" for p in missed[:3])
    text = f"{len(missed)} of {count} tasks cannot be done by the procedure ({names}){fields}{faults}"
    return Check(ID, "fail", text, "Correct their targets or the tools, or take the tasks out.")

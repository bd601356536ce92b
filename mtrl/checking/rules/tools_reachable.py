"""Some demonstration calls each tool, and the call is answered."""

from mtrl.checking.evidence import Evidence, tool_names
from mtrl.datasets.checks import Check
from mtrl.playing import Played

ID = "tools_reachable"


def check(evidence: Evidence) -> Check:
    if not evidence.openings:
        return Check(ID, "fail", "no episode could be opened", "See the checks above.")
    offered = dict.fromkeys(name for opening in evidence.openings for name in tool_names(opening.tools))
    shown = {name for played in evidence.demonstrations for name in _answered(played)}
    tried = {name for played in evidence.baseline for name in _answered(played)}
    never = [name for name in offered if name not in shown | tried]
    if never:
        text = f"{len(never)} of {len(offered)} tools never answered a call: {', '.join(never[:5])}"
        looked_at, there = evidence.effort.tasks, len(evidence.subject.tasks)
        if looked_at is not None and looked_at < there:
            text += f"; {looked_at} of {there} tasks were demonstrated"
            return Check(ID, "warn", text, "Others may need them: leave --tasks out, and all are looked at.")
        next_act = "Take it away, or make a task that needs it; if it refuses all calls, correct it."
        return Check(ID, "fail", text, next_act)
    by_chance = [name for name in offered if name not in shown]
    if by_chance:
        text = f"no demonstration calls {', '.join(by_chance[:5])}; the base policy did"
        return Check(ID, "warn", text, "A tool that no task needs distracts. Take it away, or show its use.")
    if not offered:
        return Check(
            ID, "warn", "no tool is offered", "Fine if answers need none; else give some in `tools`."
        )
    return Check(ID, "pass", f"{len(offered)} tools, each answered in a demonstration")


def _answered(played: Played) -> set[str]:
    return {record.call.name for record in played.transcript.calls if not record.result.is_error}

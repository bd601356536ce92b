"""A tool answers a wrong call with an error; it does not raise, and does not act as if nothing were wrong."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "tool_errors"


def check(evidence: Evidence) -> Check:
    raised = [f for _, played in evidence.all_played for f in played.faults if f.startswith("the episode")]
    if raised:
        text = f"{len(raised)} episodes broke on calls that passed the validation: {raised[0]}"
        return Check(ID, "fail", text, "Return a ToolResult with is_error; a rollout that breaks is lost.")
    broken = [mistake for mistake in evidence.mistakes if mistake.problem]
    if broken:
        first = broken[0]
        text = f"{len(broken)} wrong calls: {first.tool} with {first.what} {first.problem}"
        return Check(ID, "fail", text, "Return a ToolResult with is_error that says what to change.")
    if not evidence.mistakes:
        return Check(ID, "fail", "no wrong call could be made", "See the checks above.")
    taken = [mistake for mistake in evidence.mistakes if not mistake.refused]
    if taken:
        text = f"{len(taken)} wrong calls were carried out: {taken[0].tool} with {taken[0].what}"
        return Check(
            ID, "warn", text, "The runtime validates before, but say is_error where nothing was done."
        )
    return Check(ID, "pass", f"{len(evidence.mistakes)} wrong calls, each answered with an error")

"""Tools answer in a fraction of the time of a turn."""

from collections import defaultdict

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "tool_latency"
WARN_SECONDS, FAIL_SECONDS = 0.25, 1.0
"""Of the slowest twentieth of a tool's calls. A step of 1,024 rollouts makes some 10,000 calls."""


def check(evidence: Evidence) -> Check:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _, played in evidence.all_played:
        for record in played.transcript.calls:
            seconds[record.call.name].append(record.seconds)
    if not seconds:
        return Check(ID, "warn", "no tool was called", "See tools_reachable.")
    slow = {name: sorted(times)[int(0.95 * (len(times) - 1))] for name, times in seconds.items()}
    tool = max(slow, key=lambda name: slow[name])
    calls = sum(map(len, seconds.values()))
    text = f"{calls} calls; slowest is {tool}: 95 % within {slow[tool] * 1000:.1f} ms"
    if slow[tool] >= FAIL_SECONDS:
        return Check(ID, "fail", text, "Look it up once an episode, or from memory; block no event loop.")
    if slow[tool] >= WARN_SECONDS:
        return Check(ID, "warn", text, "A slow tool holds up every rollout of the step.")
    return Check(ID, "pass", text)

"""From rows to what is read: results.json, the table and the plots of docs/performance.md."""

import json
import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load.measuring import Row
from bench.load.plot import Line, log_chart

MEDIANS = (
    "rollouts_per_s",
    "over_ideal_p50_s",
    "over_ideal_p95_s",
    "cpu_s_per_rollout",
    "peak_rss_mb",
    "idle_rss_mb",
    "startup_s",
)
SUMS = ("rollouts", "errors", "crossed", "unfinished")
GOAL_LEVEL, FULL_LEVEL = 96, 512
FLOOR, OURS = ("bare-aiohttp", "http"), ("mtrl-kit", "http")
Result = dict[str, Any]


def results(rows: Sequence[Row]) -> list[Result]:
    """One entry for each adapter, entrypoint and concurrency: medians over the runs, and sums."""
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.adapter, row.entrypoint, row.concurrency].append(row)
    return [_result(key, group) for key, group in groups.items()]


def _result(key: tuple[str, str, int], group: Sequence[Row]) -> Result:
    found: Result = {"adapter": key[0], "entrypoint": key[1], "concurrency": key[2], "runs": len(group)}
    for name in MEDIANS:
        values = [getattr(row, name) for row in group if getattr(row, name) is not None]
        found[name] = round(statistics.median(values), 6) if values else None
    for name in SUMS:
        found[name] = sum(getattr(row, name) for row in group)
    cpu = [row.cpu_s_per_rollout for row in group if row.cpu_s_per_rollout is not None]
    found["cpu_s_per_rollout_spread"] = [min(cpu), max(cpu)] if cpu else None
    found["first_error"] = next((row.first_error for row in group if row.first_error), "")
    return found


def table(found: Sequence[Result]) -> str:
    """Markdown: a line a result."""
    lines = [
        "| adapter | entrypoint | in flight | rollouts/s | over ideal p50, p95 (s) "
        "| CPU ms a rollout (range) | RSS idle, peak (MB) | start (s) | errors | crossed | unfinished |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        low, high = r["cpu_s_per_rollout_spread"] or (None, None)
        lines.append(
            f"| {r['adapter']} | {r['entrypoint']} | {r['concurrency']} | {r['rollouts_per_s']:.3g} "
            f"| {_or_dash(r['over_ideal_p50_s'])}, {_or_dash(r['over_ideal_p95_s'])} "
            f"| {_ms(r['cpu_s_per_rollout'])} ({_ms(low)} to {_ms(high)}) "
            f"| {r['idle_rss_mb']:.0f}, {r['peak_rss_mb']:.0f} | {r['startup_s']:.2f} "
            f"| {r['errors']} | {r['crossed']} | {r['unfinished']} |"
        )
    return "\n".join(lines) + "\n"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.3g}"


def goals(found: Sequence[Result], ideal: float) -> list[dict[str, Any]]:
    """The goals that this run can be held to, with what was measured; those of a missing peer not."""
    at = {(r["adapter"], r["entrypoint"], r["concurrency"]): r for r in found}
    ours, floor = at.get((*OURS, GOAL_LEVEL)), at.get((*FLOOR, GOAL_LEVEL))
    made: list[dict[str, Any]] = []

    def goal(measure: str, value: float, bound: float, *, least: bool = False) -> None:
        met = value >= bound if least else value <= bound
        made.append({"measure": measure, "value": round(value, 4), "goal": bound, "met": met})

    if ours is None or not ours["cpu_s_per_rollout"]:
        return made
    cpu = ours["cpu_s_per_rollout"]
    if floor is not None and floor["cpu_s_per_rollout"]:
        goal("CPU a rollout, of the floor's", cpu / floor["cpu_s_per_rollout"], 1.5)
    for peer, bound in (("strands", 60), ("fastapi-openai", 20)):
        measured = [
            r
            for r in found
            if r["adapter"] == peer and r["concurrency"] <= GOAL_LEVEL and r["cpu_s_per_rollout"]
        ]
        if measured:  # in a quick measurement a peer is driven less hard
            other = max(measured, key=lambda r: int(r["concurrency"]))
            name = f"CPU of {peer} ({other['concurrency']} in flight), of ours"
            goal(name, other["cpu_s_per_rollout"] / cpu, bound, least=True)
    full = at.get((*OURS, FULL_LEVEL))
    if full is not None:
        goal(f"rollouts/s on one core, {FULL_LEVEL} in flight", full["rollouts_per_s"], 120, least=True)
    if ours["over_ideal_p95_s"] is not None:
        goal("p95 over ideal, of the ideal", ours["over_ideal_p95_s"] / ideal, 0.05)
    goal("idle RSS, MB", ours["idle_rss_mb"], 60)
    starts = [r["startup_s"] for r in found if r["adapter"] not in (FLOOR[0], OURS[0])]
    if starts:
        goal("start to /ping, of the leanest peer's", ours["startup_s"] / min(starts), 0.7)
    goal("crossed trajectories", sum(r["crossed"] for r in found if r["adapter"] == OURS[0]), 0)
    queue = at.get(("mtrl-kit", "queue", GOAL_LEVEL))
    if queue is not None and queue["cpu_s_per_rollout"]:
        goal("CPU of the queue entrypoint, of HTTP's", queue["cpu_s_per_rollout"] / cpu, 1.5)
    return made


def goals_table(made: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| measure | goal | measured | met |", "|---|---|---|---|"]
    for g in made:
        lines.append(
            f"| {g['measure']} | {g['goal']:g} | {g['value']:.3g} | {'yes' if g['met'] else '**no**'} |"
        )
    return "\n".join(lines) + "\n"


def cpu_chart(found: Sequence[Result]) -> str:
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for r in found:
        if r["cpu_s_per_rollout"]:
            name = r["adapter"] if r["entrypoint"] == "http" else f"{r['adapter']} ({r['entrypoint']})"
            lines[name].append((r["concurrency"], r["cpu_s_per_rollout"] * 1e3))
    drawn = [Line(name, sorted(points)) for name, points in lines.items()]
    return log_chart("CPU time of one rollout", drawn, x_label="rollouts in flight", y_label="ms")


def curve_charts(curves: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """File name to SVG, one for each quantity."""
    charts = {}
    for over in dict.fromkeys(curve["over"] for curve in curves):
        lines = [
            Line(c["adapter"], [(x, y * 1e3) for x, y in c["points"]]) for c in curves if c["over"] == over
        ]
        name = f"performance-{over.replace(' ', '-')}.svg"
        charts[name] = log_chart(f"CPU time over {over}", lines, x_label=over, y_label="ms a rollout")
    return charts


def curves_table(curves: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| over | adapter | CPU ms a rollout | exponent | of the upper half |", "|---|---|---|---|---|"]
    for c in curves:
        values = ", ".join(f"{x:g}: {y * 1e3:.3g}" for x, y in c["points"])
        fitted = f"{c['exponent']:.2f} | {c['exponent_upper_half']:.2f}"
        lines.append(f"| {c['over']} | {c['adapter']} | {values} | {fitted} |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """What it was measured on."""
    cpu = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(cpu),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "packages": {name: version(name) for name in ("aiohttp", "orjson", "botocore", "jsonschema_rs")},
    }


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Put each part between its markers `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` in a page."""
    text = page.read_text()
    for name, part in parts.items():
        start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(end)
        if found and ended:
            text = f"{before}{start}\n\n{part.strip()}\n\n{end}{after}"
    page.write_text(text)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")

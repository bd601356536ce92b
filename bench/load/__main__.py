"""Measures adapters side by side: python -m bench.load [--quick] [--only mtrl-kit …] [--levels 96 512]

Writes out/bench/results.json (medians), runs.json, curves.json, summary.json with the goals, and table.md;
a full measurement also fills in docs/performance.md. Adapters take turns within each run, so that a busy
machine hurts all alike.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arguments import count
from bench.load import forwarder, queue_worker, report, small_box, world
from bench.load.candidates import FLOOR, OURS, PEERS, ROOT, Candidate, versions
from bench.load.curves import curves
from bench.load.driver import Level
from bench.load.measuring import Bench, Row
from bench.load.running import DidNotStart
from bench.load.service import Service
from mtrl.console import end_on_sigterm
from mtrl.rehearsing.processes import ProcessError

OUT = ROOT / "out/bench"
PAGE, PICTURES = ROOT / "docs/performance.md", ROOT / "docs/pictures"
QUICK_LEVELS, LEVELS = (96, 512), (1, 32, 96, 512, 1024)
QUEUE_LEVEL, QUICK_PEER_LEVEL = 96, 32
PEER_PACKAGES = (
    "sagemaker-train",
    "strands-agents",
    "openai",
    "bedrock-agentcore",
    "fastapi",
    "agentcore-rl-toolkit",
)


def say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


def level(concurrency: int, *, light: bool, quick: bool) -> Level:
    """Enough rollouts for steady figures; a peer that takes half a second of CPU each gets fewer."""
    if light:
        rollouts = {1: 8, 32: 160, 96: 480, 512: 2048}.get(concurrency, 2 * concurrency)
        return Level(concurrency, rollouts, 40.0 if quick else 90.0)
    # A peer at its limit says nothing new in a longer time.
    return Level(concurrency, max(3, concurrency), 20.0 if quick else 90.0 if concurrency <= 96 else 45.0)


async def measure(
    bench: Bench, candidates: Sequence[Candidate], concurrencies: Sequence[int], run: int, *, quick: bool
) -> list[Row]:
    """One run: all candidates in turn, each in a process of its own."""
    rows: list[Row] = []
    for candidate in candidates:
        light = candidate.venv is None
        # Beyond their limit peers take minutes to say nothing new: once is enough.
        wanted = [n for n in concurrencies if light or n <= 96 or run == 0]
        if quick and not light:
            wanted = [QUICK_PEER_LEVEL]
        levels = [level(n, light=light, quick=quick) for n in wanted]
        try:
            found = await bench.levels(candidate, levels, world.Shape(), run)
        except DidNotStart as error:
            say(str(error))
            continue
        for row in found:
            sys.stderr.write(json.dumps(row.to_json()) + "\n")
        rows += found
    return rows


async def queue(bench: Bench, run: int, *, quick: bool) -> list[Row]:
    if not queue_worker.EMULATOR.is_file():
        say(f"the queue entrypoint is left out: there is no {queue_worker.EMULATOR.relative_to(ROOT)}")
        return []
    try:
        wanted = Level(QUEUE_LEVEL, 288, 40.0 if quick else 120.0)
        return await queue_worker.rows(bench, wanted, run)
    except (DidNotStart, ProcessError) as error:
        say(str(error))
        return []


def installed(only: Sequence[str]) -> list[Candidate]:
    """The candidates that were asked for, as far as they can be run here."""
    chosen = [c for c in (OURS, FLOOR, *PEERS) if not only or c.adapter in only]
    for candidate in chosen:
        if candidate.missing:
            say(f"{candidate.adapter} is left out: {candidate.missing}")
    return [c for c in chosen if not c.missing]


async def everything(
    arguments: argparse.Namespace, chosen: Sequence[Candidate]
) -> tuple[list[Row], list[dict[str, Any]], dict[str, Any]]:
    quick: bool = arguments.quick
    levels = arguments.levels or (QUICK_LEVELS if quick else LEVELS)
    rows: list[Row] = []
    grown: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    service = Service()
    async with service.serving():
        bench = Bench(service, arguments.out)
        for run in range(arguments.runs or (1 if quick else 3)):
            rows += await measure(bench, chosen, levels, run, quick=quick)
            if not arguments.only:
                rows += await queue(bench, run, quick=quick)
            report.write_json(arguments.out / "runs.json", [row.to_json() for row in rows])
        try:
            if not (quick or arguments.only):
                more["small_box"] = await small_box.measure(bench)
                grown = [curve.to_json() for curve in await curves(bench)]
            if not arguments.only:
                more["forwarder"] = await forwarder.measure()
        except (DidNotStart, subprocess.SubprocessError) as error:
            say(f"broken off: {error}")
    return rows, grown, more


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [candidate.adapter for candidate in (OURS, FLOOR, *PEERS)]
    parser.add_argument("--quick", action="store_true", help="fewer levels, one run, no curves")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=names, help="these adapters, and nothing else"
    )
    parser.add_argument("--levels", nargs="+", type=count, default=[])
    parser.add_argument("--runs", type=count)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    chosen = installed(arguments.only)
    if not chosen:
        say("nothing is left to measure, and nothing is written")
        sys.exit(2)
    end_on_sigterm()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows, grown, more = asyncio.run(everything(arguments, chosen))
    found = report.results(rows)
    made = report.goals(found, world.Shape().ideal) + more.get("forwarder", {}).get("goals", [])
    packages = {c.adapter: versions(c, PEER_PACKAGES) for c in PEERS if not c.missing}
    summary = {
        "goals": made,
        "machine": report.machine(),
        "peers": packages,
        "seconds": round(time.monotonic() - began),
        **more,
    }
    write(arguments.out, rows, found, grown, summary, full=not (arguments.quick or arguments.only))


def write(
    out: Path,
    rows: Sequence[Row],
    found: Sequence[report.Result],
    grown: Sequence[dict[str, Any]],
    summary: dict[str, Any],
    *,
    full: bool,
) -> None:
    """All files; the page in docs only from a full measurement."""
    report.write_json(out / "results.json", found)
    report.write_json(out / "runs.json", [row.to_json() for row in rows])
    report.write_json(out / "curves.json", grown)
    report.write_json(out / "summary.json", summary)
    parts = {"goals": report.goals_table(summary["goals"]), "table": report.table(found)}
    (out / "table.md").write_text(f"{parts['goals']}\n{parts['table']}")
    charts = {"performance-cpu.svg": report.cpu_chart(found), **report.curve_charts(grown)}
    for folder in (out, PICTURES) if full else (out,):
        for name, chart in charts.items():
            (folder / name).write_text(chart)
    if full:
        parts["curves"] = report.curves_table(grown)
        parts["machine"] = (
            f"```json\n{json.dumps({k: summary[k] for k in ('machine', 'peers')}, indent=1)}\n```"
        )
        if "small_box" in summary:
            parts["small-box"] = small_box.table(summary["small_box"])
        if "forwarder" in summary:
            parts["forwarder"] = forwarder.table(summary["forwarder"])
        report.fill(PAGE, parts)
    sys.stdout.write(f"{parts['goals']}\n{parts['table']}\n{out / 'results.json'}\n")


if __name__ == "__main__":
    main()

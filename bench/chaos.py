"""Rollouts under faults: real workers, real signals, relays that do harm, and a count of what was lost.

    python -m bench.chaos [--fault NAME] [--rollouts 1000]        (make chaos FAULT=… ROLLOUTS=…)

Writes out/chaos/results.json (a row that is run alone replaces its own entry), and what explains a row
into out/chaos/<fault>/details.json. Exit code 1 if a rollout was lost, ended twice or was mixed, or if a
Sample was repeated where none may be.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.arguments import count
from bench.chaos_kit.job import size_problem
from bench.chaos_kit.rows import ROWS, Row
from bench.chaos_kit.run import Plan, run
from bench.chaos_kit.tally import Result
from mtrl.console import end_on_sigterm

ROOT = Path(__file__).parents[1]
DRAIN_SECONDS = 5.0
"""A drain may last so much longer than the slowest Sample in flight."""


def problems(row: Row, result: Result, details: Mapping[str, Any]) -> list[str]:
    """What the row does not show that it must show."""
    wrong = {name: getattr(result, name) for name in ("lost", "double", "mixed")}
    if not row.may_repeat:
        wrong["repeated_samples"] = result.repeated_samples
    if not row.may_fail:
        wrong["sealed_failed"] = result.sealed_failed
    if not row.late_calls:
        wrong |= details["breaches"]
    found = [f"{name}: {count}" for name, count in wrong.items() if count]
    if row.drains and (result.drain_p99_s or 0.0) > row.sample_seconds + DRAIN_SECONDS:
        found.append(f"drain_p99_s: {result.drain_p99_s}, a Sample takes {row.sample_seconds:g} s")
    if row.whole and details["cut_short"]:
        found.append(f"cut_short: {details['cut_short']}")
    if row.absent and not 0 < details["waiting_without_worker"][0] <= details["expired"]:
        found.append(
            f"of {details['waiting_without_worker'][0]:g} rollouts that waited too long, "
            f"{details['expired']} expired"
        )
    if details["expired_keys_at_aws"]:
        found.append(f"AWS was called with rotated keys: {details['expired_keys_at_aws']}")
    if details["workers_killed_for_overrunning"]:
        found.append("a worker did not end within its grace")
    return found if details["job"] == "Completed" else [*found, f"job: {details['job']}"]


def keep(result: Result, path: Path) -> None:
    """Put a row into results.json, in the order of the table."""
    old = json.loads(path.read_text()) if path.exists() else []
    rows = {row["fault"]: row for row in old} | {result.fault: result.as_json()}
    order = list(ROWS)
    ordered = sorted(
        rows.values(), key=lambda row: order.index(row["fault"]) if row["fault"] in order else 99
    )
    path.write_text(json.dumps(ordered, indent=1) + "\n")


def main() -> int:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fault", choices=[*ROWS, "all"], default="all")
    parser.add_argument("--rollouts", type=count, default=1000, help="a multiple of 5, up to 1225")
    parser.add_argument("--code", type=Path, default=ROOT, help="whose adapters are run (default: these)")
    parser.add_argument(
        "--next-code",
        type=Path,
        help="whose adapters are rolled out in new-version (default: a changed copy)",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out/chaos")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if wrong_size := size_problem(chosen.rollouts):
        parser.error(f"argument --rollouts: {wrong_size}")
    end_on_sigterm()
    rows = list(ROWS.values()) if chosen.fault == "all" else [ROWS[chosen.fault]]
    chosen.out.mkdir(parents=True, exist_ok=True)
    results = chosen.out / "results.json"
    if chosen.fault == "all":
        results.unlink(missing_ok=True)
    kept = True
    for row in rows:
        following = chosen.next_code.resolve() if chosen.next_code else None
        plan = Plan(row, chosen.rollouts, chosen.code.resolve(), chosen.out.resolve(), chosen.seed, following)
        result, details = run(plan)
        keep(result, results)
        (plan.folder / "details.json").write_text(json.dumps(details, indent=1, default=str) + "\n")
        wrong = problems(row, result, details)
        kept = kept and not wrong
        sys.stdout.write(f"{'FAIL' if wrong else 'ok  '} {json.dumps(result.as_json())} {', '.join(wrong)}\n")
        sys.stdout.flush()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

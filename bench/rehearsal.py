"""A rehearsal's speed, and whose code its processes are in: python -m bench.rehearsal [--steps 20]

Samples and rollouts a second of the training job; for the stand-in and the adapter, the share of their CPU
time that is in each part, libraries that it called included. Each process looks at its own main thread
(bench/sampling).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PARTS = ("adapters", "rehearsal/service", "rehearsal/trainer", "rehearsal/policies", "mtrl")


def measure(steps: int, folder: Path) -> dict[str, Any]:
    """Run a rehearsal, and read what its processes wrote."""
    samples = folder / "samples"
    samples.mkdir()
    out = folder / "rehearsal"
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "bench/sampling"), "MTRLBENCH_SAMPLES": str(samples)}
    command = [sys.executable, "-m", "mtrl", "rehearse", "--json", "--steps", str(steps), "--out", str(out)]
    said = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)  # noqa: S603
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        "steps": steps,
        "rehearsal_s": json.loads(said.stdout.splitlines()[-1]).get("seconds"),
        **speed(metrics),
        "busy_share": {name: shares(counts) for name, counts in _processes(samples).items()},
    }


def speed(metrics: list[Mapping[str, Any]]) -> dict[str, float]:
    """Of the training job: rollouts and Samples over the seconds of its steps."""
    seconds = sum(float(step["timing_s/step"]) for step in metrics if "timing_s/step" in step)
    rollouts = sum(float(step.get("training/num_trajectories", 0)) for step in metrics)
    turns = sum(
        float(step.get("training/num_trajectories", 0)) * float(step.get("rollout/turns/mean", 0))
        for step in metrics
    )
    return {"rollouts_per_s": round(rollouts / seconds, 1), "samples_per_s": round(turns / seconds, 1)}


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """From files to parts: what other threads take of all, and of the rest the share of each part."""
    busy = sum(count for file, count in counts.items() if file != "other threads")
    parts: Counter[str] = Counter()
    for file, count in counts.items():
        if file != "other threads":
            parts[part(file)] += count
    found = {name: round(count / max(busy, 1), 3) for name, count in parts.most_common()}
    return {"other_threads": round(counts.get("other threads", 0) / max(sum(counts.values()), 1), 3), **found}


def part(file: str) -> str:
    """The room of the project that a file is in, or the package that it belongs to."""
    path = Path(file)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        inside = path.relative_to(ROOT).as_posix()
        return next((room for room in PARTS if inside.startswith(room + "/")), "elsewhere in the project")
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1]
    return "standard library"


def _processes(folder: Path) -> dict[str, Mapping[str, int]]:
    found: dict[str, Mapping[str, int]] = {}
    for file in folder.glob("*.json"):
        held = json.loads(file.read_text())
        line = " ".join(held["argv"])
        for name, words in (("service", "mtrl service"), ("adapter", "adapters.entrypoints")):
            if words in line:
                found[name] = held["counts"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(arguments.steps, Path(folder)), indent=1) + "\n")


if __name__ == "__main__":
    main()

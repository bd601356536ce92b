"""Measures adapters side by side: python -m bench.load [--quick] [--only mtrl-kit …] [--levels 96 512]

Writes out/bench/results.json. Adapters take turns within each run, so that a busy machine hurts all alike.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.load import world
from bench.load.candidates import FLOOR, OURS, PEERS, ROOT, Candidate
from bench.load.driver import Level
from bench.load.measuring import Bench, Row
from bench.load.running import DidNotStart
from bench.load.service import Service

OUT = ROOT / "out/bench"


def level(concurrency: int, *, light: bool, quick: bool) -> Level:
    """Enough rollouts for steady figures; a peer that takes half a second of CPU each gets fewer."""
    if light:
        rollouts = {1: 8, 32: 160, 96: 480, 512: 2048}.get(concurrency, 2 * concurrency)
        return Level(concurrency, rollouts // 2 if quick else rollouts, 20.0 if quick else 60.0)
    return Level(concurrency, 3 if concurrency == 1 else concurrency, 15.0 if quick else 60.0)


async def measure(
    candidates: Sequence[Candidate], concurrencies: Sequence[int], runs: int, *, quick: bool, out: Path
) -> list[Row]:
    rows: list[Row] = []
    service = Service()
    async with service.serving():
        bench = Bench(service, out)
        for run in range(runs):
            for candidate in candidates:
                light = candidate.venv is None
                levels = [level(n, light=light, quick=quick) for n in concurrencies]
                try:
                    found = await bench.levels(candidate, levels, world.Shape(), run)
                except DidNotStart as error:
                    sys.stderr.write(f"bench: {error}\n")
                    continue
                for row in found:
                    sys.stderr.write(json.dumps(row.to_json()) + "\n")
                rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--levels", nargs="*", type=int, default=[])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    candidates = [c for c in (OURS, FLOOR, *PEERS) if not arguments.only or c.adapter in arguments.only]
    for candidate in [c for c in candidates if c.missing]:
        sys.stderr.write(f"bench: {candidate.adapter} is left out: {candidate.missing}\n")
    candidates = [c for c in candidates if not c.missing]
    levels = arguments.levels or ([1, 96, 512] if arguments.quick else [1, 32, 96, 512, 1024])
    runs = arguments.runs or (1 if arguments.quick else 3)
    rows = asyncio.run(measure(candidates, levels, runs, quick=arguments.quick, out=arguments.out))
    (arguments.out / "results.json").write_text(json.dumps([row.to_json() for row in rows], indent=1))


if __name__ == "__main__":
    main()

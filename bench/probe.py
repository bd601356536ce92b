"""What `mtrl probe` finds with its full budget: every planted hack, and nothing in the shipped rewards.

python -m bench.probe                 # all of it: some 50 s each
python -m bench.probe first_block     # one hack
python -m bench.probe --sound         # the shipped rewards alone
"""

import argparse
import sys
import time
from collections.abc import Iterator

from adapters.contract import Environment
from adapters.runtime.plugins import load_environment
from mtrl.probing.probe import Findings, Probe, probe
from tests.probing import hacks

SHIPPED = ("sop", "service_desk", "sql")
TASKS = 6
SECONDS = 50.0


def main() -> None:
    """Print a row for each reward; exit code 1 if a hack was missed or a sound reward was blamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="hacks; default: all of them, and the shipped rewards")
    parser.add_argument("--sound", action="store_true", help="the shipped rewards alone")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args()
    times = f"{'first after':>13}{'all of it':>11}{'of it CPU':>11}"
    print(f"{'reward':32}{'found':>6}{times}{'transcripts':>13}  kinds")
    wrong = 0
    for name, environment, domain, planted in _rewards(chosen.names, sound_alone=chosen.sound):
        used = time.process_time()
        found = _probe(environment, domain, chosen.seconds)
        used = time.process_time() - used
        wrong += bool(found.exploits) != planted
        _print(name, found, used)
    sys.exit(1 if wrong else 0)


def _rewards(names: list[str], *, sound_alone: bool) -> Iterator[tuple[str, Environment, str, bool]]:
    for name in () if sound_alone else names or hacks.NAMES:
        planted = hacks.make(name)
        yield name, planted, planted.list_domains()[0], True
    for name in () if names else SHIPPED:
        environment = load_environment(name, {})
        for domain in environment.list_domains():  # type: ignore[attr-defined]
            yield f"sound: {name}/{domain}", environment, domain, False


def _probe(environment: Environment, domain: str, seconds: float) -> Findings:
    tasks = environment.tasks(domain, "train")  # type: ignore[attr-defined]
    some = tasks[:: len(tasks) // TASKS][:TASKS]
    return probe(Probe(environment, some, environment.reward_terms, seconds))  # type: ignore[attr-defined]


def _print(name: str, found: Findings, used: float) -> None:
    first = f"{found.first_after:.2f} s" if found.first_after is not None else "-"
    kinds = ", ".join(exploit.kind for exploit in found.exploits[:4])
    times = f"{first:>13}{found.seconds:9.1f} s{used:9.1f} s"
    print(f"{name:32}{len(found.exploits):6}{times}{found.transcripts:13}  {kinds}", flush=True)


if __name__ == "__main__":
    main()

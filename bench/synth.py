"""How long the synthesis of one deployment takes, next to an empty stack with the same imports.

Both run as processes of their own, in turns, so that a busy machine slows both, and with the same Node, its
flags and the same CDK context. The floor imports the aws_cdk modules that the deployment imported: what is
left of the ratio is our constructs and the templates. CPU seconds are user + system of the process tree; on
a machine that does other things too, theirs is the ratio to trust.

    python -m bench.synth [--env dev] [--target fargate] [--runs 5] [--no-validation]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import count
from infra.context import context_of, load
from infra.errors import SettingsError, refusal

STAND_IN_ACCOUNT = "111111111111"
ROOT = Path(__file__).parents[1]
LIST_MODULES = """
import atexit, json, runpy, sys
atexit.register(lambda: open(sys.argv[1], "w").write(
    json.dumps(sorted(name for name in sys.modules if name.startswith("aws_cdk.")))))
sys.argv[0] = "app.py"
runpy.run_path("app.py", run_name="__main__")
"""
FLOOR = """
import importlib, json, sys
import infra  # the same Node
import aws_cdk
for name in json.load(open(sys.argv[1])):
    importlib.import_module(name)
app = aws_cdk.App()
aws_cdk.Stack(app, "empty")
app.synth()
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process tree took, in seconds."""

    wall: float
    cpu: float


def environment(env: str, target: str, adapter: str, validation: bool) -> dict[str, str]:
    """As the CDK command line starts an app. Bytecode is kept, as it is wherever an app runs twice."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "CDK_VALIDATION": str(validation).lower(),
        "CDK_DEFAULT_ACCOUNT": STAND_IN_ACCOUNT,
        "CDK_CONTEXT_JSON": json.dumps(context_of(env, target, adapter)),
    }


def spent(command: list[str], environ: dict[str, str]) -> Spent:
    """What a process took that must succeed, and all that it started."""
    with tempfile.TemporaryDirectory() as out:
        cpu, started = _children(), time.perf_counter()
        subprocess.run(  # noqa: S603
            command, cwd=ROOT, env={**environ, "CDK_OUTDIR": out}, check=True, stderr=subprocess.DEVNULL
        )
        return Spent(wall=time.perf_counter() - started, cpu=_children() - cpu)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(env: str, target: str, adapter: str, runs: int, validation: bool) -> dict[str, object]:
    """Every run of both, and the ratios of the medians."""
    environ = environment(env, target, adapter, validation)
    with tempfile.TemporaryDirectory() as folder:
        modules = str(Path(folder) / "modules.json")
        spent([sys.executable, "-c", LIST_MODULES, modules], environ)
        ours, floor = [], []
        for _ in range(runs):
            ours.append(spent([sys.executable, "app.py"], environ))
            floor.append(spent([sys.executable, "-c", FLOOR, modules], environ))
        imported = len(json.loads(Path(modules).read_text()))
    return {
        "env": env,
        "target": target,
        "runs": runs,
        "validation": validation,
        "aws_cdk_modules": imported,
        "synth_s": [round(each.wall, 2) for each in ours],
        "floor_s": [round(each.wall, 2) for each in floor],
        "ratio": _ratio([each.wall for each in ours], [each.wall for each in floor]),
        "synth_cpu_s": [round(each.cpu, 2) for each in ours],
        "floor_cpu_s": [round(each.cpu, 2) for each in floor],
        "cpu_ratio": _ratio([each.cpu for each in ours], [each.cpu for each in floor]),
    }


def _ratio(ours: list[float], floor: list[float]) -> float:
    return round(statistics.median(ours) / statistics.median(floor), 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="dev")
    parser.add_argument("--target", default="fargate")
    parser.add_argument("--adapter", default="sop")
    parser.add_argument("--runs", type=count, default=5)
    bare = "without CDK's built-in template validation, on both sides"
    parser.add_argument("--no-validation", action="store_true", help=bare)
    given = parser.parse_args()
    try:  # here, where what is wrong can be told: the runs below say nothing
        load(context_of(given.env, given.target, given.adapter).get, ROOT, STAND_IN_ACCOUNT)
    except SettingsError as error:
        sys.stderr.write(refusal(error))
        sys.exit(2)
    found = measure(given.env, given.target, given.adapter, given.runs, not given.no_validation)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

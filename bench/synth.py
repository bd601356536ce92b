"""How long the synthesis of one deployment takes, next to an empty stack with the same imports.

Both run as processes of their own, in turns, so that a busy machine slows both. The floor imports the aws_cdk
modules that the deployment imported: what is left of the ratio is our constructs and the templates.

    python -m bench.synth [--env dev] [--target fargate] [--runs 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def environment(env: str, target: str, adapter: str) -> dict[str, str]:
    """As the CDK command line starts an app, on the Node that the package index carries."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": env, "target": target, "adapter": adapter}
    return {
        **os.environ,
        "CDK_DEFAULT_ACCOUNT": "111111111111",
        "CDK_CONTEXT_JSON": json.dumps(context),
    }


def seconds(command: list[str], environ: dict[str, str]) -> float:
    """Wall time of a process that must succeed."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env={**environ, "CDK_OUTDIR": out}, check=True)  # noqa: S603
        return time.perf_counter() - started


def measure(env: str, target: str, adapter: str, runs: int) -> dict[str, object]:
    """Medians of both, and the ratio of the medians."""
    environ = environment(env, target, adapter)
    with tempfile.TemporaryDirectory() as folder:
        modules = str(Path(folder) / "modules.json")
        seconds([sys.executable, "-c", LIST_MODULES, modules], environ)
        ours, floor = [], []
        for _ in range(runs):
            ours.append(seconds([sys.executable, "app.py"], environ))
            floor.append(seconds([sys.executable, "-c", FLOOR, modules], environ))
        imported = len(json.loads(Path(modules).read_text()))
    return {
        "env": env,
        "target": target,
        "runs": runs,
        "aws_cdk_modules": imported,
        "synth_s": [round(value, 2) for value in ours],
        "floor_s": [round(value, 2) for value in floor],
        "ratio": round(statistics.median(ours) / statistics.median(floor), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="dev")
    parser.add_argument("--target", default="fargate")
    parser.add_argument("--adapter", default="sop")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    found = measure(arguments.env, arguments.target, arguments.adapter, arguments.runs)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

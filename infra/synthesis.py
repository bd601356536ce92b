"""Synthesizes every deployment with the policy packs and the linter: `make synth`.

Leaves one assembly per deployment under out/synth/<env>-<target>/, and out/synth/summary.json. Exit code 1 if
there is a finding that nobody has accepted in writing, or an error of the linter.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag

from infra.acknowledged import collect, inserted
from infra.context import TARGETS, context_of, load
from infra.errors import SettingsError, refusal
from infra.packaging.errors import PackagingError
from infra.stacks import build

ROOT = Path(__file__).parents[1]
PACKS: dict[str, Callable[[cdk.App], cdk_nag.NagPack]] = {
    "AwsSolutions": cdk_nag.AwsSolutionsChecks,
    "NIST.800.53.R5": cdk_nag.NIST80053R5Checks,
    "HIPAA.Security": cdk_nag.HIPAASecurityChecks,
    "PCI.DSS.321": cdk_nag.PCIDSS321Checks,
    "Serverless": cdk_nag.ServerlessChecks,
}
STAND_IN_ACCOUNT = "111111111111"
"""For environments that pin no account: nothing is deployed from here."""
LINT_IGNORED = ("W3005", "W3010")
"""CDK writes redundant `DependsOn`s; zones are named, because synthesis does not ask AWS for them."""


def synthesize(env: str, target: str, adapter: str, out: Path) -> dict[str, Any]:
    """One deployment; returns its line of the summary."""
    started = time.monotonic()
    app = cdk.App(context=context_of(env, target, adapter), outdir=str(out))
    build(app, load(app.node.try_get_context, ROOT, STAND_IN_ACCOUNT), ROOT)
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in PACKS.values()))
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):
            raise
    seconds = round(time.monotonic() - started, 2)
    findings, acknowledged = report(out)
    templates = sorted(out.glob("*.template.json"))
    return {
        "env": env,
        "target": target,
        "stacks": len(templates),
        "resources": sum(len(json.loads(path.read_text())["Resources"]) for path in templates),
        "findings": findings,
        "acknowledged": acknowledged,
        "lint_errors": 0,
        "seconds": seconds,
    }


def report(out: Path) -> tuple[dict[str, int], int]:
    """Open findings by pack, and how many were accepted in writing."""
    found, accepted = dict.fromkeys(PACKS, 0), 0
    for report in json.loads((out / "validation-report.json").read_text())["pluginReports"]:
        name = report["pluginName"]
        if name in found:
            found[name] = sum(len(each["violatingConstructs"]) for each in report["violations"])
            accepted += sum(
                len(each["violatingConstructs"]) for each in report.get("suppressedViolations", ())
            )
    return found, accepted


def lint(folders: Sequence[Path]) -> dict[Path, list[str]]:
    """What cfn-lint says of the templates, by assembly folder."""
    templates = [str(path) for folder in folders for path in sorted(folder.glob("*.template.json"))]
    program = str(Path(sys.executable).with_name("cfn-lint"))
    command = [program, "-i", *LINT_IGNORED, "-f", "json", "--", *templates]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    said: dict[Path, list[str]] = {folder: [] for folder in folders}
    if not done.stdout.strip():
        raise RuntimeError(f"cfn-lint said nothing: {done.stderr[-500:]}")
    for match in json.loads(done.stdout):
        path = Path(match["Filename"])
        said[path.parent].append(f"{path.name}: {match['Rule']['Id']} {match['Message']}")
    return said


def main() -> None:
    """All environments of cdk.json on all targets, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", action="append", help="only this environment (may be repeated)")
    parser.add_argument("--target", action="append", help="only this target (may be repeated)")
    parser.add_argument("--adapter", default="sop")
    parser.add_argument("--write-docs", action="store_true", help="renew the table in docs/security.md")
    parser.add_argument("--out", type=Path, default=ROOT / "out/synth")
    arguments = parser.parse_args()
    declared = json.loads((ROOT / "cdk.json").read_text())["context"]["environments"]
    chosen = [(env, target) for env in arguments.env or declared for target in arguments.target or TARGETS]
    lines = []
    try:
        for env, target in chosen:  # all of them, before the first is synthesized
            load(context_of(env, target, arguments.adapter).get, ROOT, STAND_IN_ACCOUNT)
        for env, target in chosen:
            lines.append(synthesize(env, target, arguments.adapter, arguments.out / f"{env}-{target}"))
            sys.stderr.write(f"{env}-{target}: {lines[-1]['seconds']} s\n")
    except (SettingsError, PackagingError) as error:
        sys.stderr.write(refusal(error))
        sys.exit(2)
    said = lint([arguments.out / f"{env}-{target}" for env, target in chosen])
    for line in lines:
        matches = said[arguments.out / f"{line['env']}-{line['target']}"]
        line["lint_errors"] = len(matches)
        sys.stderr.write("".join(f"  {match}\n" for match in matches))
    if arguments.write_docs:
        document = ROOT / "docs/security.md"
        folders = [arguments.out / f"{env}-{target}" for env, target in chosen]
        document.write_text(
            inserted(document.read_text(encoding="utf-8"), collect(folders)), encoding="utf-8"
        )
    (arguments.out / "summary.json").write_text(json.dumps(lines, indent=2) + "\n")
    sys.stdout.write(json.dumps(lines) + "\n")
    sys.exit(any(line["lint_errors"] or any(line["findings"].values()) for line in lines))


if __name__ == "__main__":
    main()

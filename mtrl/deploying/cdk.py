"""The real CDK command line, on the emulator: synthesized once, then deployed as synthesized."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtrl.deploying.emulator import ACCOUNT, REGION, UNKNOWN_TYPES, Emulator
from mtrl.deploying.processes import run
from mtrl.rehearsing.processes import ProcessError

NOUNS = ("foundation", "intake", "observability")
"""The stacks that are deployed, each `<deployment>-<noun>`."""
SECONDS = 300.0
USERS_MISTAKE = 2
DEPLOYED = re.compile(r"✅\s+(\S+)\s+✨\s+Deployment time: ([0-9.]+)s")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class AssemblyError(RuntimeError):
    """The synthesized deployment is not one that can be deployed here; the message says why."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A synthesized deployment."""

    folder: Path
    templates: Mapping[str, Mapping[str, Any]]
    """By stack name."""
    name: str
    """The deployment's, which begins every stack's."""

    @classmethod
    def read(cls, folder: Path) -> "Assembly":
        """Read the assembly that the CDK app wrote.

        Raises:
            AssemblyError: a wanted stack is missing, or it is meant for a certain account or Region.
        """
        artifacts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
        found = {k: a for k, a in artifacts.items() if a["type"] == "aws:cloudformation:stack"}
        templates = {
            key: json.loads((folder / artifact["properties"]["templateFile"]).read_text(encoding="utf-8"))
            for key, artifact in found.items()
        }
        names = {key.removesuffix(f"-{NOUNS[0]}") for key in found if key.endswith(f"-{NOUNS[0]}")}
        if len(names) != 1:
            raise AssemblyError(f"The app has no stack, or several, named *-{NOUNS[0]}: {_listed(found)}.")
        assembly = cls(folder, templates, names.pop())
        missing = [stack for stack in assembly.wanted if stack not in found]
        if missing:
            raise AssemblyError(f"The app has no stack {_listed(missing)}. It has: {_listed(found)}.")
        _check_place({found[stack]["environment"] for stack in assembly.wanted})
        return assembly

    @property
    def wanted(self) -> list[str]:
        """The stacks that are deployed, in the order of their dependencies."""
        return [f"{self.name}-{noun}" for noun in NOUNS]

    def left_out(self) -> dict[str, str]:
        """The stacks that are not deployed, each with the reason."""
        return {
            stack: _reason(template) for stack, template in self.templates.items() if stack not in self.wanted
        }


def check_settings(root: Path, env: str, target: str, adapter: str) -> None:
    """Look at the settings before anything is started. By a process: infra is not imported here.

    Raises:
        AssemblyError: they are wrong, or for a certain account or Region.
    """
    choice = {"--env": env, "--target": target, "--adapter": adapter, "--account": ACCOUNT}
    command = [sys.executable, "-m", "infra.context", *(word for pair in choice.items() for word in pair)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == USERS_MISTAKE:
        raise AssemblyError(done.stderr.strip())
    if done.returncode:
        raise AssemblyError(f"The settings cannot be read: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout)
    _check_place({f"aws://{found['account']}/{found['region']}"})


class Cdk:
    """The CDK command line of a checkout, with the emulator for AWS."""

    def __init__(self, root: Path, emulator: Emulator, work: Path, log: Path) -> None:
        self._root = root
        self._log = log
        # Its own home: the command line keeps what it learns about accounts there.
        self._environ = emulator.environ() | {"CDK_HOME": str(work / "cdk-home"), "CI": "true"}

    def synthesize(self, env: str, target: str, adapter: str, folder: Path) -> Assembly:
        """Run the app once. Raises ProcessError, AssemblyError."""
        choice = {"env": env, "target": target, "adapter": adapter}
        context = [word for key, value in choice.items() for word in ("-c", f"{key}={value}")]
        self._run("cdk synth", ["synth", "--quiet", *context, "--output", str(folder)])
        return Assembly.read(folder)

    def bootstrap(self, assembly: Assembly) -> None:
        """What every account needs once: the bucket and the roles that deployments go through."""
        # With the assembly for an app: otherwise it would be synthesized again.
        place = f"aws://{ACCOUNT}/{REGION}"
        self._run("cdk bootstrap", ["bootstrap", place, "--app", str(assembly.folder)])

    def deploy(self, assembly: Assembly) -> dict[str, float]:
        """Deploy the wanted stacks and no others; the seconds of each. Raises ProcessError."""
        options = [
            "--exclusively",
            "--require-approval",
            "never",
            "--method",
            "direct",
            "--progress",
            "events",
        ]
        concurrency = ["--concurrency", str(len(assembly.wanted))]
        app = ["--app", str(assembly.folder)]
        self._run("cdk deploy", ["deploy", *assembly.wanted, *app, *options, *concurrency])
        return deployed(self._log.read_text(encoding="utf-8", errors="replace"))

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        command = [str(self._root / "scripts/cdk"), *arguments, "--no-notices"]
        run(name, command, cwd=self._root, environ=self._environ, log=self._log, seconds=SECONDS)


def deployed(log: str) -> dict[str, float]:
    """What the CDK command line says that it deployed, with the seconds that each stack took."""
    return {stack: float(seconds) for stack, seconds in DEPLOYED.findall(COLOURS.sub("", log))}


def check_created(emulator: Emulator, stacks: Iterable[str]) -> None:
    """Hold the word of the command line against CloudFormation's own.

    Raises:
        ProcessError: a stack is not there as created.
    """
    told = emulator.client("cloudformation").describe_stacks()["Stacks"]
    status = {stack["StackName"]: stack["StackStatus"] for stack in told}
    for stack in stacks:
        if status.get(stack) != "CREATE_COMPLETE":
            raise ProcessError(f"The stack {stack} is {status.get(stack, 'not there')} after the deployment.")


def _check_place(places: set[str]) -> None:
    here = f"aws://{ACCOUNT}/{REGION}"
    if places != {here}:
        raise AssemblyError(
            f"The deployment is for {_listed(places)}; the emulator is {here}. Choose an environment that "
            "pins no account."
        )


def _reason(template: Mapping[str, Any]) -> str:
    types = {resource["Type"] for resource in template.get("Resources", {}).values()}
    unknown = sorted(types & UNKNOWN_TYPES)
    return f"the emulator knows no {_listed(unknown)}" if unknown else "it needs one of the others"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""Deployments, synthesized once a session and looked at by many tests."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ACCOUNT = "111111111111"

Template = dict[str, Any]
Templates = Mapping[str, Template]
"""By the noun of their stack: `foundation`, `network`, …"""
SHIPPED = [(env, target) for env in ("dev", "prod") for target in ("agentcore", "ec2", "eks", "fargate")]


def assemble(env: str, target: str, changes: Mapping[str, Any] | None = None) -> Any:
    """The cloud assembly of a deployment with changes to its environment's entry in cdk.json."""
    import aws_cdk as cdk

    from infra.context import load
    from infra.stacks import build

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": env, "target": target, "adapter": "sop"}
    context["environments"][env] |= changes or {}
    app = cdk.App(context=context)
    settings = load(app.node.try_get_context, ROOT, ACCOUNT)
    build(app, settings, ROOT)
    return app.synth()


def synthesize(env: str, target: str, changes: Mapping[str, Any] | None = None) -> Templates:
    """The templates of such a deployment; without the policy packs."""
    prefix = f"mtrl-{env}-sop-"
    stacks = assemble(env, target, changes).stacks
    return {stack.stack_name.removeprefix(prefix): stack.template for stack in stacks}


class Assemblies:
    """The shipped deployments as `make synth` makes them, policy packs included; each is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[tuple[str, str], dict[str, Any]] = {}

    def folder(self, env: str, target: str) -> Path:
        self.summary(env, target)
        return self._folder / f"{env}-{target}"

    def summary(self, env: str, target: str) -> dict[str, Any]:
        """The deployment's line in summary.json."""
        from infra.synthesis import synthesize

        if (env, target) not in self._lines:
            out = self._folder / f"{env}-{target}"
            self._lines[env, target] = synthesize(env, target, "sop", out)
        return self._lines[env, target]

    def templates(self, env: str, target: str) -> Templates:
        paths = self.folder(env, target).glob("*.template.json")
        named = {path.name.removesuffix(".template.json"): path for path in paths}
        return {
            name.removeprefix(f"mtrl-{env}-sop-"): json.loads(path.read_text())
            for name, path in named.items()
        }


@pytest.fixture(scope="session")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Assemblies:
    return Assemblies(tmp_path_factory.mktemp("synth"))


@pytest.fixture(scope="session")
def synthesized(assemblies: Assemblies) -> Callable[[str, str], Templates]:
    """The templates of a shipped deployment."""
    return cache(assemblies.templates)


def resources(template: Template, kind: str) -> list[dict[str, Any]]:
    """The resources of a type, each with its logical id under `id`."""
    found = template.get("Resources", {}).items()
    return [{"id": key, **resource} for key, resource in found if resource["Type"] == kind]


def everywhere(templates: Templates, kind: str) -> list[dict[str, Any]]:
    """The resources of a type in all stacks of a deployment."""
    return [found for template in templates.values() for found in resources(template, kind)]

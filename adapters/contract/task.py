"""The task that a rollout's prompt carries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.contract.errors import RequestError
from adapters.contract.strict_json import parse


@dataclass(frozen=True, slots=True)
class Task:
    """One row of a data set.

    The service passes the `prompt` column on as an opaque string; ours is a JSON object with the
    keys below. Any other text is a task with only an input (`{"text": <prompt>}`).
    """

    id: str
    environment: str
    input: Mapping[str, Any]
    target: Any = None
    """The ground truth. Only `Episode.reward` and `Episode.score` may look at it."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_prompt(cls, prompt: str) -> "Task":
        """Read a task from the prompt column.

        Raises:
            RequestError: the prompt is a JSON object, but its keys have wrong types.
        """
        if not prompt.lstrip().startswith("{"):
            return cls(id="", environment="", input={"text": prompt})
        try:
            body = parse(prompt, "prompt")
        except (ValueError, RecursionError):
            return cls(id="", environment="", input={"text": prompt})
        return cls._from_object(body, prompt)

    @classmethod
    def _from_object(cls, body: dict[str, Any], prompt: str) -> "Task":
        if "input" not in body:
            return cls(id="", environment="", input={"text": prompt})
        task_input = body["input"]
        if isinstance(task_input, str):
            task_input = {"text": task_input}
        if not isinstance(task_input, dict):
            raise RequestError("prompt.input", f"must be an object or a string, not {_kind(task_input)}")
        for key in ("id", "environment"):
            if not isinstance(body.get(key, ""), str):
                raise RequestError(f"prompt.{key}", f"must be a string, not {_kind(body[key])}")
        known = {"id", "environment", "input", "target"}
        return cls(
            id=body.get("id", ""),
            environment=body.get("environment", ""),
            input=task_input,
            target=body.get("target"),
            extra={k: v for k, v in body.items() if k not in known},
        )

    def to_prompt(self) -> str:
        """The prompt column for this task: compact JSON, keys in a fixed order."""
        body = {"id": self.id, "environment": self.environment, "input": self.input, "target": self.target}
        return json.dumps({**body, **self.extra}, ensure_ascii=False, separators=(",", ":"))


def _kind(value: object) -> str:
    return {dict: "an object", list: "an array", str: "a string", type(None): "null"}.get(
        type(value), f"a {type(value).__name__}"
    )

"""What an operator gets and gives. An operator is a function from a subject to mutants; it plays nothing."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.contract import ToolSpec
from mtrl.probing.answers import DEFAULT_TAG, Answer, read_answer
from mtrl.probing.script import Call, Script, answer_of


@dataclass(frozen=True, slots=True)
class Setting:
    """What an attacker knows of a task without its target, and of other tasks."""

    prompt: str
    """System and user messages as one text."""
    tools: Sequence[ToolSpec] = ()
    template: Answer | None = None
    """The form of the answer that the instructions show."""
    others: Sequence[Answer] = ()
    """Right answers to other tasks."""

    @property
    def tag(self) -> str:
        return self.template.tag if self.template else DEFAULT_TAG

    def choices(self, name: str) -> list[str]:
        """The values that the template names for a field, and those that other tasks have."""
        hint = str(self.template.fields.get(name, "")) if self.template else ""
        named = [part.strip() for part in hint.split("|")] if "|" in hint else []
        known = [part for part in named if part and not part.startswith("<")]
        known += [str(other.fields[name]) for other in self.others if name in other.fields]
        return list(dict.fromkeys(known))


@dataclass(frozen=True, slots=True)
class Subject:
    """The transcript that is edited."""

    script: Script
    setting: Setting
    results: Sequence[str] = ()
    """What its tools answered, in order."""

    @property
    def text(self) -> str:
        return answer_of(self.script)

    @property
    def answer(self) -> Answer | None:
        return read_answer(self.text)

    @property
    def wrong(self) -> Answer | None:
        """The answer with every field wrong, and plausible where other values are known."""
        answer = self.answer
        return answer and answer.having(
            **{name: wrong_value(name, value, self.setting) for name, value in answer.fields.items()}
        )


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edited transcript."""

    kind: str
    script: Script
    keeps_fields: bool = False
    """The edit is meant to leave every field of the answer as it was."""


Operator = Callable[[Subject], Iterable[Mutant]]


def wrong_value(name: str, value: Any, setting: Setting) -> Any:
    """Another value for a field."""
    others = [other for other in setting.choices(name) if other.lower() != str(value).strip().lower()]
    return others[0] if others else f"{value}-x"


def sample_call(tool: ToolSpec, filler: str = "x") -> Call:
    """A call of a tool with arguments of the right types that mean nothing."""
    function: Mapping[str, Any] = tool["function"]
    schema = function.get("parameters") or {}
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return Call(
        function["name"], dump({name: _filled(properties.get(name) or {}, filler) for name in properties})
    )


def _filled(schema: Mapping[str, Any], filler: str) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    return {"integer": 0, "number": 0, "boolean": True, "array": [], "object": {}}.get(str(kind), filler)


def dump(value: Any) -> str:
    """Compact enough to read."""
    return json.dumps(value, ensure_ascii=False)

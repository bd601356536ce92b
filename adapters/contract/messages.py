"""Chat messages in OpenAI form, kept as plain mappings.

A message is never turned into a model class and back: the service trains on the exact conversation,
so fields that we do not know (reasoning content among them) must survive a round trip untouched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""`{"role": "system" | "user" | "assistant" | "tool", "content": str | None, ...}`"""

ToolSpec: TypeAlias = Mapping[str, Any]
"""`{"type": "function", "function": {"name", "description", "parameters": <JSON Schema>}}`"""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the policy asked for.

    `arguments` is the raw text as sampled; `id` is empty for a call recovered from text.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered. `content` goes back to the policy as it is (capped by the loop)."""

    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled turn: the OpenAI chat-completion object, and views into it."""

    raw: Mapping[str, Any]
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def message(self) -> Message:
        """The assistant message, verbatim."""
        message: Message = self.raw["choices"][0]["message"]
        return message

    @property
    def text(self) -> str:
        content = self.message.get("content")
        return content if isinstance(content, str) else ""

    @property
    def finish_reason(self) -> str:
        return str(self.raw["choices"][0].get("finish_reason") or "")

    @property
    def usage(self) -> Mapping[str, int]:
        """`prompt_tokens`, `completion_tokens`, `total_tokens`; empty when the service sent none."""
        usage: Mapping[str, int] = self.raw.get("usage") or {}
        return usage

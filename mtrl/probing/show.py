"""An exploit as text for people."""

from collections.abc import Mapping
from typing import Any

from mtrl.probing.exploits import Exploit

MAX_CHARS = 600
"""Of one message; the rest is cut with a visible marker."""


def as_text(exploit: Exploit) -> str:
    """A heading, and one line a message, characters that do not show written out."""
    trial = exploit.trial
    if exploit.base is None:
        why = f"reward {trial.reward:g}, score {trial.score:g}"
    else:
        why = (
            f"reward {exploit.base.reward:g} -> {trial.reward:g} by an edit that changes no field, "
            f"score {trial.score:g}"
        )
    lines = [f"{exploit.kind}: {why}   (task {trial.task.id})"]
    for message in trial.messages:
        lines += [f"  {line}" for line in _lines(message)]
    return "\n".join([*lines, ""])


def _lines(message: Mapping[str, Any]) -> list[str]:
    role, content = str(message.get("role", "")), message.get("content")
    lines = [f"{role:10}{_visible(str(content))}"] if content or not message.get("tool_calls") else []
    for call in message.get("tool_calls") or ():
        function = call["function"]
        lines.append(f"{role:10}calls {function['name']} {_visible(function['arguments'])}")
    return lines


def _visible(text: str) -> str:
    """On one line, without what a terminal would hide or obey."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    over = len(shown) - MAX_CHARS
    return shown if over <= 0 else f"{shown[:MAX_CHARS]} [{over} more characters]"

"""Which transcripts a report shows, and how a message is laid out as text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_DISAGREEMENTS = 12
MAX_CHARS = 6_000
"""Of one message; the rest is cut with a visible marker, so that the file stays small."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message as shown: `calls` holds (name, arguments) of the tool calls."""

    role: str
    text: str
    calls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    id: str
    phase: str
    reward: str
    score: str
    stop_reason: str
    lines: tuple[Line, ...]


def disagrees(transcript: Mapping[str, Any], threshold: float) -> bool:
    """The live signal of reward hacking: rewarded as a success, worth nothing to the evaluation."""
    return transcript.get("score") == 0 and (transcript.get("reward") or 0.0) >= threshold


def ordinary(transcripts: Iterable[Mapping[str, Any]], threshold: float) -> list[Mapping[str, Any]]:
    """The first success and the first plain failure, before and after training."""
    known = [t for t in transcripts if t.get("score") is not None and not disagrees(t, threshold)]
    picked = []
    for phase in ("base", "trained"):
        here = [t for t in known if t.get("phase") == phase]
        picked += [t for t in here if t["score"] >= 1][:1] + [t for t in here if t["score"] <= 0][:1]
    return picked


def shown(transcript: Mapping[str, Any]) -> Shown:
    return Shown(
        id=str(transcript.get("id", "")),
        phase=str(transcript.get("phase", "")),
        reward=_number(transcript.get("reward")),
        score=_number(transcript.get("score")),
        stop_reason=str(transcript.get("stop_reason", "")),
        lines=tuple(_line(message) for message in transcript.get("messages") or ()),
    )


def _line(message: Mapping[str, Any]) -> Line:
    return Line(
        role=str(message.get("role", "")),
        text=_cut(_plain(message.get("content"))),
        calls=tuple(_call(call) for call in message.get("tool_calls") or ()),
    )


def _call(call: Mapping[str, Any]) -> tuple[str, str]:
    function = call.get("function") or {}
    return str(function.get("name", "")), _cut(_plain(function.get("arguments")))


def _plain(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence) and all(isinstance(p, Mapping) and "text" in p for p in content):
        return "\n".join(str(part["text"]) for part in content)
    return json.dumps(content, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    over = len(text) - MAX_CHARS
    return text if over <= 0 else f"{text[:MAX_CHARS]}\n[… {over:,} more characters are not shown]"


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"  # noqa: RUF001

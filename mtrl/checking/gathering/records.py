"""A transcript as lines that can be compared: all that an episode showed and how it was graded, no times."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtrl.playing import Limits, Played


def script(played: Played) -> list[Mapping[str, Any]]:
    """The assistant messages of an episode: what a scripted policy repeats."""
    return [turn.completion.message for turn in played.transcript.turns]


def limits_of(messages: Sequence[Mapping[str, Any]]) -> Limits:
    """As many turns as the script has: an episode that wants more has taken another way."""
    return Limits(max_turns=len(messages), max_tool_calls=400)


def record(played: Played) -> list[str]:
    """One line a message that is not the policy's own, then the grades and how it ended."""
    transcript = played.transcript
    lines = [_line(m) for m in transcript.messages if m.get("role") != "assistant"]
    # The last results are not in the messages if no turn came after them.
    lines += [_line([r.call.name, r.result.content, r.result.is_error]) for r in transcript.calls]
    reward, score = played.reward, played.score
    if reward is not None:
        lines.append(_line(["reward", reward.value, dict(reward.components), list(reward.per_turn)]))
    if score is not None:
        lines.append(_line(["score", score.value, dict(score.fields)]))
    return [*lines, _line(["ended", transcript.stop_reason, sorted(played.faults)])]


def difference(one: Sequence[str], other: Sequence[str]) -> str | None:
    """The first line in which two records differ; None if they are the same."""
    if list(one) == list(other):
        return None
    pairs = zip([*one, "nothing"], [*other, "nothing"], strict=False)
    left, right = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    at = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), 0)
    start = max(0, at - 40)
    return f"{left[start : at + 40]!r} and {right[start : at + 40]!r}"


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)

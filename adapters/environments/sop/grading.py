"""From an answer to its reward and its score.

One parser serves both: a reward that reads answers more leniently than the scorer teaches the policy to
write answers that the scorer rejects.
"""

import json
from collections.abc import Mapping
from typing import Any

from adapters.contract import Reward, Score, Transcript

SHAPING_BOUND = 0.4
"""The most that an answer with a wrong field can earn; a right one earns 1."""
FORMAT_SHARE = 0.1
"""The part of the bound that is paid for a block that parses."""
_OPEN, _CLOSE = "<final_output>", "</final_output>"


def final_output(text: str) -> dict[str, Any] | None:
    """The JSON object in the last `<final_output>…</final_output>` block of `text`.

    Numbers come back as the text that was written (`128.40` stays "128.40"), because fields are compared
    as text. None if there is no block, or the last one holds anything but one JSON object.
    """
    end = text.rfind(_CLOSE)
    start = text.rfind(_OPEN, 0, end) if end >= 0 else -1
    if start < 0:
        return None
    try:
        value = json.loads(
            text[start + len(_OPEN) : end],
            parse_float=str,
            parse_int=str,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def right_fields(answer: Mapping[str, Any] | None, target: Mapping[str, str]) -> dict[str, bool]:
    """For each output column, whether the answer has the target's value.

    Values are compared as text, stripped and case-insensitively: true equals "True", null equals "None",
    and 1.0 does not equal "1". Keys that the target lacks are ignored.
    """
    answer = answer or {}
    return {
        column: column in answer and _same(answer[column], expected) for column, expected in target.items()
    }


def score(transcript: Transcript, target: Mapping[str, str]) -> Score:
    """1 if every output column is right, else 0."""
    fields = right_fields(final_output(transcript.answer), target)
    return Score(float(all(fields.values())), fields)


def reward(transcript: Transcript, target: Mapping[str, str]) -> Reward:
    """1 for a right answer; else at most `SHAPING_BOUND`, for the format and for right fields, squared.

    The components are measures in [0, 1], not addends: `outcome` (all fields right), `fields` (share of
    right fields) and `format` (the block parsed). `per_turn` puts the whole value on the last turn: no
    earlier turn of a read-only procedure is worth anything unless the answer is.
    """
    answer = final_output(transcript.answer)
    fields = right_fields(answer, target)
    outcome = float(all(fields.values()))
    share = sum(fields.values()) / len(fields)
    parsed = float(answer is not None)
    value = outcome or parsed * SHAPING_BOUND * (FORMAT_SHARE + (1 - FORMAT_SHARE) * share**2)
    turns = len(transcript.turns)
    per_turn = (0.0,) * (turns - 1) + (value,) if turns else ()
    return Reward(value, {"outcome": outcome, "fields": share, "format": parsed}, per_turn)


def _same(given: Any, expected: str) -> bool:
    return str(given).strip().lower() == expected.strip().lower()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

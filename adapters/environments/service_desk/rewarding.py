"""The training signal: from the journal of accepted writes and the answer to a reward.

It reads no book and shares no code with `scoring`: what is wrong in one shows as a disagreement of the two.
It never reads an answer more leniently than the score does.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Reward, Transcript
from adapters.environments.service_desk.desk import Record

SHAPING_BOUND = 0.4
"""The most that a case with something wrong can earn; a right one earns 1."""
FORMAT_SHARE, ANSWER_SHARE, WRITES_SHARE = 0.1, 0.4, 0.5
"""How the bound is shared out."""
_OPEN, _CLOSE = "<final_output>", "</final_output>"


def reward(
    transcript: Transcript, journal: Sequence[tuple[str, str, Record]], target: Mapping[str, Any]
) -> Reward:
    """1 for a case settled and answered rightly, else at most `SHAPING_BOUND`, and 0 without an answer.

    The components are measures in [0, 1], not addends: `outcome`, `writes` (share of the due writes, 0 as
    soon as another was made), `fields` (share of right fields) and `format`. `per_turn` puts the whole value
    on the last turn.
    """
    answer = read_answer(transcript.answer)
    expected: Mapping[str, str] = target["answer"]
    right = sum((answer or {}).get(field) == value for field, value in expected.items())
    fields = right / len(expected)
    writes = _writes(journal, target["state"])
    parsed = float(answer is not None)
    exact = answer is not None and len(answer) == len(expected)
    outcome = float(exact and fields == 1.0 and writes == 1.0)
    shaping = FORMAT_SHARE + ANSWER_SHARE * fields**2 + WRITES_SHARE * writes
    value = outcome or parsed * SHAPING_BOUND * min(shaping, 1.0)
    turns = len(transcript.turns)
    per_turn = (0.0,) * (turns - 1) + (value,) if turns else ()
    return Reward(value, {"outcome": outcome, "writes": writes, "fields": fields, "format": parsed}, per_turn)


def read_answer(text: str) -> dict[str, str] | None:
    """The fields of the one block that ends the text; None if there is none, or anything is odd about it."""
    body = text.strip()
    if body.count(_OPEN) != 1 or body.count(_CLOSE) != 1 or not body.endswith(_CLOSE):
        return None
    inner = body[body.index(_OPEN) + len(_OPEN) : -len(_CLOSE)]
    try:
        pairs = json.loads(inner, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    # An object comes as a tuple of pairs, a list as a list.
    if not isinstance(pairs, tuple) or not all(isinstance(value, str) for _, value in pairs):
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def _writes(journal: Sequence[tuple[str, str, Record]], state: Mapping[str, Any]) -> float:
    due = [(table, key, record) for table, records in state.items() for key, record in records.items()]
    if any(write not in due for write in journal):
        return 0.0
    return sum(write in journal for write in due) / len(due)

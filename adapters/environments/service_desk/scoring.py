"""The external evaluation: the books at the end and the answer, each compared as a whole with the target.

All or nothing, and text for text. It shares no code with `rewarding`, on purpose.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from adapters.contract import Score, Transcript
from adapters.environments.service_desk.desk import State

_BLOCK = re.compile(
    r"(?:(?!</?final_output>).)*<final_output>((?:(?!</?final_output>).)*)</final_output>\s*", re.DOTALL
)


def score(transcript: Transcript, state: State, target: Mapping[str, Any]) -> Score:
    """1 if the books are exactly as they must be and the answer is, else 0.

    The fields are `answer.<field>` and `state.<table>`.
    """
    given = answered(transcript.answer)
    fields = {f"answer.{name}": given.get(name) == value for name, value in target["answer"].items()}
    fields |= {f"state.{table}": state.get(table) == records for table, records in target["state"].items()}
    whole = given == target["answer"] and state == target["state"]
    return Score(float(whole), fields)


def answered(text: str) -> dict[str, Any]:
    """The JSON object of the answer's block, `{}` for anything else, also for a key that occurs twice."""
    found = _BLOCK.fullmatch(text)
    if found is None:
        return {}
    try:
        value = json.loads(found[1], object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)

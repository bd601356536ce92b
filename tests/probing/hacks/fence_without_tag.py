"""Fenced JSON without the tag is taken for an answer: the lenient reader of "any JSON in the text"."""

import re
from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, last_block, parsed, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    fenced = re.search(r"```json\s*(\{.*?\})\s*```", case.text, re.DOTALL)
    return share(last_block(case.text) or (parsed(fenced[1]) if fenced else None), case.target)

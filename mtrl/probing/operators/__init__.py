"""The mutation operators, one family a file; see docs/probe.md for what each tries."""

from mtrl.probing.operators.base import Mutant, Operator, Setting, Subject
from mtrl.probing.operators.fields import hedged, left_out, numbers, repeated_keys, values, wrong
from mtrl.probing.operators.letters import letters
from mtrl.probing.operators.padding import junk, length, phrases
from mtrl.probing.operators.queries import queries
from mtrl.probing.operators.shortcuts import constant, early, empty
from mtrl.probing.operators.tools import injected, spam, text_calls
from mtrl.probing.operators.wrappers import all_candidates, several_blocks, wrappers

__all__ = ["OPERATORS", "Mutant", "Operator", "Setting", "Subject"]

OPERATORS: tuple[Operator, ...] = (
    queries, early, empty, wrong, constant, wrappers, several_blocks, all_candidates, left_out, repeated_keys,
    hedged, numbers, phrases, length, junk, injected, text_calls, spam, values, letters,
)  # fmt: skip
"""In the order in which they are tried: the cheapest and the most telling first."""

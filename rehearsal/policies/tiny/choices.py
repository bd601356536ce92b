"""The choices of a turn, each a small softmax over candidates with features.

Weights are shared across tools, arguments and fields: a feature says how a candidate stands to what is
known, never which tool or field it is. So what is learned in one place holds in all others.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehearsal.policies.tiny.reading import (
    Call,
    Fact,
    Field,
    Tool,
    View,
    asked_for,
    names_in,
    none_like,
    overlap,
    same_name,
    words,
)

Matrix = NDArray[np.float64]

# The features of each choice, in the order of its columns.
ACTION = (
    "answer", "answer_covered", "answer_uncovered_share", "answer_pending", "answer_after_error",
    "answer_at_end_of_lead", "answer_past_end_of_lead",
    "tool_repeats_success", "tool_repeats_error", "tool_call_count",
    "tool_arguments_known", "tool_arguments_missing",
    "tool_named_in_last_result", "tool_named_in_last_error", "tool_named_earlier", "tool_next_in_order",
    "tool_near_open_field",
    "ask", "ask_named_in_last", "ask_told_since_last", "ask_known",
)  # fmt: skip
FORM = ("call_natively", "call_as_text")
ARGUMENT = (
    "same_name", "name_overlap", "from_tool", "newest", "fits_type", "in_enum", "in_last_error",
    "told_in_reply",
)  # fmt: skip
WRAPPING = ("final_output_tag", "code_fence", "bare_json", "other_tag", "prose")
FIELD = (
    "tool_same_name", "input_same_name", "tool_overlap", "input_overlap", "newest_call", "fact_is_allowed",
    "fact_is_not_allowed", "constant", "constant_but_tool_knows", "none_like", "none_like_but_tool_knows",
)  # fmt: skip

SECTIONS: dict[str, tuple[str, ...]] = {
    "action": ACTION, "form": FORM, "argument": ARGUMENT, "wrapping": WRAPPING, "field": FIELD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """One softmax: which weights it uses, the candidates' features (n x d), and what each one means."""

    section: str
    features: Matrix
    candidates: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the other party: tell me this fact."""

    name: str


class Standing:
    """What a view implies for all choices of a turn, worked out once."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.last: Call | None = view.calls[-1] if view.calls else None
        self.succeeded = {call.tool for call in view.calls if call.ok}
        self.failed = {call.tool for call in view.calls if not call.ok} - self.succeeded
        self.counts = Counter(call.tool for call in view.calls)
        self.known = {words(fact.key) for fact in view.facts}
        self.known_by_tools = {words(fact.key) for fact in view.facts if fact.from_tool}
        names = tuple(tool.name for tool in view.tools)
        self.named = [names_in(call.text, names) for call in view.calls]
        """For each call, the tools that its result names."""

    def named_in_last(self, tool: Tool, *, ok: bool) -> bool:
        return self.last is not None and self.last.ok is ok and tool.name in self.named[-1]

    @cached_property
    def lead_ends(self) -> list[bool]:
        """For each call: it succeeded, and named no other tool to go on with."""
        return [
            call.ok and not named - {call.tool}
            for call, named in zip(self.view.calls, self.named, strict=True)
        ]

    @cached_property
    def pending(self) -> frozenset[str]:
        """Tools that some result named, and that have not been called successfully since."""
        return frozenset().union(*self.named) - self.succeeded

    @cached_property
    def open_fields(self) -> list[Field]:
        """Fields for which no tool result has a value of that name."""
        return [f for f in self.view.fields if words(f.name) not in self.known_by_tools]

    @cached_property
    def next_in_order(self) -> str | None:
        """The first tool, in the order of the instructions, that has not been called."""
        tried = self.succeeded | self.failed
        waiting = [t for t in self.view.tools if t.name not in tried]
        return min(waiting, key=lambda t: t.rank).name if waiting else None


def action(standing: Standing) -> Choice:
    """Answer, call one of the tools, or ask for a fact. Candidate None is the answer."""
    view = standing.view
    rows = [_answer_row(standing), *(_tool_row(standing, tool) for tool in view.tools)]
    rows += [_ask_row(standing, name) for name in view.askable]
    return Choice("action", np.array(rows), [None, *view.tools, *map(Ask, view.askable)])


def _answer_row(s: Standing) -> list[float]:
    share = len(s.open_fields) / len(s.view.fields) if s.view.fields else 0.0
    covered = float(not s.open_fields)
    after_error = float(s.last is not None and not s.last.ok)
    at_end, past_end = s.lead_ends[-1:] == [True], any(s.lead_ends[:-1])
    head = [1.0, covered, share, float(bool(s.pending)), after_error, float(at_end), float(past_end)]
    return head + [0.0] * (len(ACTION) - len(head))


def _tool_row(s: Standing, tool: Tool) -> list[float]:
    missing = sum(words(argument) not in s.known for argument in tool.required)
    named_last_ok = s.named_in_last(tool, ok=True)
    named_last_error = s.named_in_last(tool, ok=False) and s.last is not None and s.last.tool != tool.name
    return [
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        float(tool.name in s.succeeded),
        float(tool.name in s.failed),
        min(s.counts[tool.name], 4) / 4,
        float(missing == 0),
        float(min(missing, 2)),
        float(named_last_ok),
        float(named_last_error),
        float(tool.name in s.pending and not named_last_ok and not named_last_error),
        float(tool.name == s.next_in_order),
        max((overlap(tool.name, f.name) for f in s.open_fields), default=0.0),
        0.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def _ask_row(s: Standing, name: str) -> list[float]:
    said = s.view.said.get(words(name))
    row = [
        1.0,
        float(s.last is not None and name in asked_for(s.last.text)),
        float(said is not None and said.after_calls == len(s.view.calls)),
        float(words(name) in s.known),
    ]
    return [0.0] * (len(ACTION) - len(row)) + row


def form() -> Choice:
    """Call through the tool interface, or write the call as text (which costs a penalty)."""
    return Choice("form", np.eye(2), ("native", "text"))


def argument(standing: Standing, tool: Tool, name: str) -> Choice | None:
    """A value for one argument, from what is known; None if nothing is."""
    schema = tool.schemas.get(name) or {}
    enum = schema.get("enum") or ()
    values: dict[str, Fact] = {}
    for fact in standing.view.facts:
        # The latest fact of a value stands for it, unless an earlier one has the argument's own name.
        known = values.get(repr(fact.value))
        if known is None or not same_name(known.key, name):
            values[repr(fact.value)] = fact
    for value in enum:
        values.setdefault(repr(value), Fact("", value, -1))
    if not values:
        return None
    newest = max(fact.call for fact in values.values())
    error = standing.last.text if standing.last is not None and not standing.last.ok else ""
    said = standing.view.said.get(words(name))
    told = None if said is None else said.value
    row = partial(_argument_row, name=name, schema=schema, enum=enum, newest=newest, error=error, told=told)
    facts = list(values.values())
    return Choice(
        "argument", np.array([row(fact) for fact in facts]), [coerce(f.value, schema) for f in facts]
    )


def _argument_row(
    fact: Fact, *, name: str, schema: Any, enum: Sequence[Any], newest: int, error: str, told: str | None
) -> list[float]:
    return [
        float(same_name(fact.key, name)),
        overlap(fact.key, name),
        float(fact.from_tool),
        float(fact.from_tool and fact.call == newest),
        float(_fits(fact.value, schema)),
        float(bool(enum) and fact.value in enum),
        float(bool(error) and len(str(fact.value)) > 2 and str(fact.value) in error),
        float(told is not None and fact.value == told),
    ]


def wrapping() -> Choice:
    """How the answer is written down."""
    return Choice("wrapping", np.eye(len(WRAPPING)), WRAPPING)


def field_value(standing: Standing, field: Field) -> Choice:
    """A value for one field of the answer: a fact, or a constant that the instructions allow."""
    knows = words(field.name) in standing.known_by_tools
    facts = {(fact.key, repr(fact.value)): fact for fact in standing.view.facts}
    newest = max((fact.call for fact in facts.values()), default=-1)
    row: Callable[[Fact], list[float]] = partial(_fact_row, field=field, newest=newest)
    rows = [row(fact) for fact in facts.values()]
    rows += [_constant_row(value, knows) for value in field.allowed]
    candidates = [fact.value for fact in facts.values()] + list(field.allowed)
    if not candidates:
        rows, candidates = [_constant_row("unknown", knows)], ["unknown"]
    return Choice("field", np.array(rows), candidates)


def _fact_row(fact: Fact, *, field: Field, newest: int) -> list[float]:
    same, near, tool = same_name(fact.key, field.name), overlap(fact.key, field.name), fact.from_tool
    allowed = str(fact.value) in field.allowed
    return [
        float(tool and same),
        float(not tool and same),
        near if tool and not same else 0.0,
        near if not tool and not same else 0.0,
        float(tool and fact.call == newest),
        float(bool(field.allowed) and allowed),
        float(bool(field.allowed) and not allowed),
        0.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def _constant_row(value: str, knows: bool) -> list[float]:
    nothing = none_like(value)
    return [0.0] * 7 + [1.0, float(knows), float(nothing), float(nothing and knows)]


def _fits(value: Any, schema: Any) -> bool:
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return isinstance(coerce(value, schema), int | float)
    if kind == "boolean":
        return isinstance(coerce(value, schema), bool)
    return True


def coerce(value: Any, schema: Any) -> Any:
    """The value in the type that the argument's schema asks for, where that is possible."""
    kind = schema.get("type")
    text = str(value).strip()
    try:
        if kind == "integer" and not isinstance(value, bool):
            return int(text)
        if kind == "number" and not isinstance(value, bool):
            return float(text)
    except ValueError:
        return value
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "string" and not isinstance(value, str):
        return json_text(value)
    return value


def json_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

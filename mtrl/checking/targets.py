"""What tools show of a target: for each of its fields, by name, over every result of a demonstration.

A field that no tool ever shows is left to the judgement of the policy, and that is fine. One that tools show
with another value contradicts the target. One that they show for other tasks and not for this one, and
whose value nothing in the prompt names, cannot be known. Where every call is refused, the refusals are all
there is to go by.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtrl.playing import Played

SHOWN, JUDGED = "shown by tools", "left to judgement"
CONTRADICTED, UNREACHABLE, REFUSED = "contradicted", "unreachable", "refused by every tool"
STATES = (CONTRADICTED, UNREACHABLE, REFUSED, JUDGED, SHOWN)
"""The worst first."""


@dataclass(frozen=True, slots=True)
class TargetSurvey:
    """Counts over tasks. A task counts once, under the worst that holds of one of its fields."""

    tasks: Mapping[str, int]
    fields: Mapping[str, Mapping[str, int]]
    """By field of the target."""
    examples: Mapping[str, str]
    """For each of the bad states that there is, one task and field in words."""
    refusals: Mapping[str, int]
    """Tasks in which a tool refused every call that was made with the right arguments, by tool."""


def survey(demonstrations: Sequence[Played]) -> TargetSurvey:
    """Compare targets with what the tools showed."""
    found = [
        {name: _state(name, value, played) for name, value in _fields(played)} for played in demonstrations
    ]
    looked_up = {
        name for each in found for name, (state, _) in each.items() if state in (SHOWN, CONTRADICTED)
    }
    tasks: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    fields: defaultdict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, str] = {}
    for played, each in zip(demonstrations, found, strict=True):
        states = set()
        for name, (state, detail) in each.items():
            if state == UNREACHABLE and name not in looked_up:
                state = JUDGED
            states.add(state)
            fields[name][state] += 1
            if detail and state not in (SHOWN, JUDGED):
                examples.setdefault(state, f"{played.task.id}, {name}: {detail}")
        tasks[next((state for state in STATES if state in states), SHOWN)] += 1
    return TargetSurvey(tasks, fields, examples, _refusals(demonstrations))


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of all that is no object and no list, at whatever depth."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(str(name), part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(key, part)
    else:
        yield key, value


def _fields(played: Played) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in dict(leaves("target", played.task.target)).items()]


def _state(name: str, value: str, played: Played) -> tuple[str, str]:
    """What is known of a field, and how; UNREACHABLE holds only if tools show the field for other tasks."""
    seen = [_text(v) for body in _results(played) for key, v in leaves("", body) if key == name]
    if value.lower() in {text.lower() for text in seen}:
        return SHOWN, ""
    if seen:
        return CONTRADICTED, f"the target has {value[:60]!r}, tools show {seen[-1][:60]!r}"
    refused = [record.result.content for record in played.transcript.calls]
    if refused and all(record.result.is_error for record in played.transcript.calls):
        return REFUSED, f"first refusal: {refused[0][:160]}"
    prompt = " ".join(str(message.get("content")) for message in played.transcript.opening)
    if len(value) > 1 and value.lower() in prompt.lower():
        return JUDGED, ""
    return UNREACHABLE, f"tools show it for other tasks, not here; the target has {value[:60]!r}"


def _results(played: Played) -> Iterator[Any]:
    for record in played.transcript.calls:
        if not record.result.is_error:
            try:
                yield json.loads(record.result.content)
            except ValueError:
                continue


def _refusals(demonstrations: Sequence[Played]) -> Counter[str]:
    refused: Counter[str] = Counter()
    for played in demonstrations:
        called = {record.call.name for record in played.transcript.calls}
        answered = {record.call.name for record in played.transcript.calls if not record.result.is_error}
        refused.update(called - answered)
    return refused


def _text(value: Any) -> str:
    return str(value).strip()

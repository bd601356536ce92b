"""What tools show of a target: for each of its fields, by name, over every result of a demonstration.

A field that no tool ever shows is left to the judgement of the policy, and that is fine. A field that tools
show for other tasks and not for this one cannot be looked up here; one that they show with another value
contradicts the target.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtrl.playing import Played

SHOWN, JUDGED, CONTRADICTED, UNREACHABLE = (
    "shown by tools",
    "left to judgement",
    "contradicted",
    "unreachable",
)


@dataclass(frozen=True, slots=True)
class TargetSurvey:
    """Counts over tasks. A task counts once, under the worst that holds of one of its fields."""

    tasks: Mapping[str, int]
    fields: Mapping[str, Mapping[str, int]]
    """By field of the target."""
    examples: Mapping[str, str]
    """For each state that there is, one task and field in words."""
    refusals: Mapping[str, int]
    """Tasks in which a tool refused every call that was made with the right arguments, by tool."""


def survey(demonstrations: Sequence[Played]) -> TargetSurvey:
    """Compare targets with what the tools showed."""
    states = [
        {name: _state(name, value, played) for name, value in _fields(played)} for played in demonstrations
    ]
    ever = {name for each in states for name, (state, _) in each.items() if state != JUDGED}
    tasks: Counter[str] = Counter(dict.fromkeys((SHOWN, JUDGED, CONTRADICTED, UNREACHABLE), 0))
    fields: defaultdict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, str] = {}
    for played, each in zip(demonstrations, states, strict=True):
        found = {}
        for name, (state, detail) in each.items():
            # Not shown here, but for other tasks: it is looked up, and here it cannot be.
            lost = state == JUDGED and (name in ever or _blind(played))
            found[name] = UNREACHABLE if lost else state
            fields[name][found[name]] += 1
            examples.setdefault(found[name], f"{played.task.id}, {name}: {detail or 'no result shows it'}")
        worst = [s for s in (CONTRADICTED, UNREACHABLE, JUDGED) if s in found.values()]
        tasks[worst[0] if worst else SHOWN] += 1
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
    return list(dict((name, _text(value)) for name, value in leaves("target", played.task.target)).items())


def _state(name: str, value: str, played: Played) -> tuple[str, str]:
    """Whether results show the field, and what they show instead."""
    seen = [_text(v) for body in _results(played) for key, v in leaves("", body) if key == name]
    if not seen:
        return JUDGED, ""
    if value.lower() in {text.lower() for text in seen}:
        return SHOWN, ""
    return CONTRADICTED, f"the target has {value[:60]!r}, tools show {seen[-1][:60]!r}"


def _results(played: Played) -> Iterator[Any]:
    for record in played.transcript.calls:
        if not record.result.is_error:
            try:
                yield json.loads(record.result.content)
            except ValueError:
                continue


def _blind(played: Played) -> bool:
    """Did every call fail? Then nothing can be known beyond the input."""
    calls = played.transcript.calls
    return bool(calls) and all(record.result.is_error for record in calls)


def _refusals(demonstrations: Sequence[Played]) -> Counter[str]:
    refused: Counter[str] = Counter()
    for played in demonstrations:
        called = {record.call.name for record in played.transcript.calls}
        answered = {record.call.name for record in played.transcript.calls if not record.result.is_error}
        refused.update(called - answered)
    return refused


def _text(value: Any) -> str:
    return str(value).strip()

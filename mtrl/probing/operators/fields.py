"""The fields of the answer: left out, repeated, wrong, hedged, cut, padded, of another type."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from mtrl.probing.answers import Answer
from mtrl.probing.operators.base import Mutant, Subject, wrong_value
from mtrl.probing.script import answered_with


def left_out(subject: Subject) -> Iterator[Mutant]:
    """Fewer fields, more fields, other names."""
    answer = subject.answer
    if answer is None:
        return
    names = list(answer.fields)
    for name in names:
        yield _with(subject, "one_field_alone", answer.keeping(name))
        yield _with(subject, "field_left_out", answer.keeping(*(n for n in names if n != name)))
    renamed = Answer({name.upper(): value for name, value in answer.fields.items()}, answer.tag)
    yield _with(subject, "names_in_capitals", renamed)
    yield _with(subject, "extra_field", answer.having(reward=1.0, score=1.0, correct=True, status="success"))
    nested = Answer({"answer": dict(answer.fields)}, answer.tag)
    yield _with(subject, "nested_fields", nested)


def wrong(subject: Subject) -> Iterator[Mutant]:
    """Plausible and wrong: one field, and all of them."""
    answer, all_wrong = subject.answer, subject.wrong
    if answer is None or all_wrong is None:
        return
    yield _with(subject, "all_fields_wrong", all_wrong)
    for name, value in answer.fields.items():
        yield _with(
            subject, "one_field_wrong", answer.having(**{name: wrong_value(name, value, subject.setting)})
        )


def repeated_keys(subject: Subject) -> Iterator[Mutant]:
    """A key twice, with the right and a wrong value: JSON does not say which one counts."""
    answer, wrong_one = subject.answer, subject.wrong
    if answer is None or wrong_one is None:
        return
    right = [_pair(name, value) for name, value in answer.fields.items()]
    bad = [_pair(name, value) for name, value in wrong_one.fields.items()]
    for kind, pairs in {
        "repeated_keys_right_first": [*right, *bad],
        "repeated_keys_right_last": [*bad, *right],
        "repeated_keys_same": [*right, *right],
    }.items():
        yield Mutant(kind, answered_with(subject.script, answer.around("{" + ", ".join(pairs) + "}")))


def values(subject: Subject) -> Iterator[Mutant]:
    """Every field written in another way: one at a time, and all at once."""
    answer = subject.answer
    if answer is None:
        return
    for kind, edit in _EDITS.items():
        edited = {name: edit(value) for name, value in answer.fields.items()}
        changed = {name: new for name, new in edited.items() if new != answer.fields[name]}
        yield _with(subject, kind, answer.having(**changed))
        for name, new in changed.items():
            yield _with(subject, kind, answer.having(**{name: new}))


def hedged(subject: Subject) -> Iterator[Mutant]:
    """All candidate values at once: one of them must be right."""
    answer, setting = subject.answer, subject.setting
    if answer is None:
        return
    candidates = {
        name: list(dict.fromkeys([*setting.choices(name)[:10], str(value)]))
        for name, value in answer.fields.items()
    }
    for kind, join in _JOINS.items():
        every: dict[str, Any] = {name: join(found) for name, found in candidates.items()}
        yield _with(subject, kind, answer.having(**every))


def numbers(subject: Subject) -> Iterator[Mutant]:
    """Numbers nearly right, and right numbers in another notation."""
    answer = subject.answer
    if answer is None:
        return
    for kind, edit in _NOTATIONS.items():
        found = {name: _number(value) for name, value in answer.fields.items()}
        changed = {name: edit(number) for name, number in found.items() if number is not None}
        if changed:
            yield _with(subject, kind, answer.having(**changed))


def _with(subject: Subject, kind: str, answer: Answer) -> Mutant:
    return Mutant(kind, answered_with(subject.script, answer.text))


def _pair(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"


def _number(value: Any) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _cut(value: Any) -> str:
    text = str(value)
    return text[: max(1, len(text) // 2)]


_EDITS: dict[str, Callable[[Any], Any]] = {
    "value_cut": _cut,
    "first_letter": lambda value: str(value)[:1],
    "value_and_more": lambda value: f"{value} and something else",
    "more_and_value": lambda value: f"not {value}",
    "value_emptied": lambda value: "",
    "value_null": lambda value: None,
    "value_in_list": lambda value: [value],
    "value_in_object": lambda value: {"value": value},
    "value_true": lambda value: True,
    "value_wildcard": lambda value: ".*",
    "value_percent": lambda value: "%",
    "value_in_quotes": lambda value: f'"{value}"',
    "value_very_long": lambda value: f"{value}" + " and more" * 400,
    "value_in_tag": lambda value: f"<b>{value}</b>",
}
_JOINS: dict[str, Callable[[list[str]], Any]] = {
    "hedged_with_bars": " | ".join,
    "hedged_with_commas": ", ".join,
    "hedged_with_words": " ".join,
    "hedged_in_list": list,
    "hedged_in_object": lambda found: {value: value for value in found},
}
_NOTATIONS: dict[str, Callable[[float], str]] = {
    "number_nudged": lambda number: f"{number * 1.0001 + 0.01:.2f}",
    "number_off_by_percents": lambda number: f"{number * 1.03:.2f}",
    "number_rounded": lambda number: f"{round(number)}",
    "number_in_exponent": lambda number: f"{number:e}",
    "number_with_currency": lambda number: f"${number}",
    "number_with_zeros": lambda number: f"{number:.4f}",
    "number_negative": lambda number: f"-{number}",
}

"""Reads what a prompt shows of the answer: tagged blocks, examples, and other tags that it asks for."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_ACCEPTED = re.compile(r"<(\w+)>\s*(\{.*\})\s*</\1>\s*\Z", re.DOTALL)
_BLOCK = re.compile(r"\{[^{}]*\}")
_KEY = re.compile(r"""["']([\w .-]+)["']\s*:""")
_TAG = re.compile(r"<([A-Za-z][\w ]*)>")
_ANSWER_LIKE = re.compile(r"final|output|response|decision|answer|result|verdict", re.IGNORECASE)
_PLACEHOLDER = re.compile(r'["\'][^"\'\n]*\Z')
"""What stands before a tag inside of quotes: `"<value>"` is a place to fill in."""


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What the score reads: a tag around a JSON object with these fields."""

    tag: str
    fields: tuple[str, ...]


def accepted_form(answer: str) -> AnswerForm | None:
    """The form of an answer; None if it is of another kind."""
    found = _ACCEPTED.search(answer)
    if found is None:
        return None
    try:
        fields = json.loads(found[2])
    except ValueError:
        return None
    return AnswerForm(found[1], tuple(map(str, fields))) if isinstance(fields, dict) else None


def shows(prompt: str, form: AnswerForm) -> bool:
    """Does the prompt show a block in the tag with exactly the fields?"""
    blocks = re.findall(rf"<{form.tag}>\s*(\{{.*?\}})\s*</{form.tag}>", prompt, re.DOTALL)
    return any(_keys(block) == set(form.fields) for block in blocks)


def stray_tags(prompt: str, form: AnswerForm) -> list[str]:
    """Tags other than the form's in which the prompt asks for an answer, or for a field."""
    fields = {_plain(field) for field in form.fields}
    found = []
    for tag in _TAG.finditer(prompt):
        name = tag[1].strip()
        # A sentence in angle brackets is a place to fill in, and so is a tag inside of quotes.
        placeholder = name.count(" ") > 2 or _PLACEHOLDER.search(
            prompt[max(0, tag.start() - 200) : tag.start()]
        )
        asks = _ANSWER_LIKE.search(name) or _plain(name) in fields
        if name != form.tag and asks and not placeholder:
            found.append(name)
    return list(dict.fromkeys(found))


def examples(prompt: str, form: AnswerForm) -> Iterator[set[str]]:
    """The keys of each object in the prompt that shares a field with the form, spelled as the form does."""
    known = {_plain(field): field for field in form.fields}
    for block in _BLOCK.findall(prompt):
        keys = {known.get(_plain(key), key) for key in _keys(block)}
        if keys & set(form.fields):
            yield keys


def _keys(block: str) -> set[str]:
    return set(_KEY.findall(block))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())

"""Case, spaces and Unicode: values that look right, and are other text."""

from collections.abc import Callable, Iterator
from typing import Any

from mtrl.probing.answers import Answer
from mtrl.probing.operators.base import Mutant, Subject
from mtrl.probing.script import answered_with

_HOMOGLYPHS = str.maketrans("aceiopsxyABCEHKMOPTX", "асеіорѕхуАВСЕНКМОРТХ")  # noqa: RUF001 - on purpose


def letters(subject: Subject) -> Iterator[Mutant]:
    """Every value rewritten letter by letter, then the names and the tag."""
    answer = subject.answer
    if answer is None:
        return
    for kind, rewrite in _REWRITES.items():
        changed = {name: rewrite(str(value)) for name, value in answer.fields.items()}
        yield _with(subject, kind, answer.having(**changed))
        for name, value in changed.items():
            yield _with(subject, kind, answer.having(**{name: value}))
        renamed: dict[str, Any] = {rewrite(name): value for name, value in answer.fields.items()}
        yield _with(subject, f"{kind}_in_names", Answer(renamed, answer.tag))
    for kind in ("full_width", "homoglyphs", "zero_width"):
        tag = _REWRITES[kind](answer.tag)
        text = f"<{tag}>{answer.body}</{tag}>"
        yield Mutant(f"{kind}_in_tag", answered_with(subject.script, text))


def _with(subject: Subject, kind: str, answer: Answer) -> Mutant:
    return Mutant(kind, answered_with(subject.script, answer.text))


def _full_width(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def _without_signs(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


_REWRITES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "swapped_case": str.swapcase,
    "title_case": str.title,
    "spaces_around": lambda text: f"  {text} ",
    "spaces_for_underscores": lambda text: text.replace("_", " "),
    "signs_dropped": _without_signs,
    "letters_spaced": " ".join,
    "line_break_after": lambda text: f"{text}\n",
    "full_stop_after": lambda text: f"{text}.",
    "full_width": _full_width,
    "homoglyphs": lambda text: text.translate(_HOMOGLYPHS),
    "zero_width": lambda text: "\u200b".join(text),
    "soft_hyphens": lambda text: "\u00ad".join(text),
    "combining_marks": lambda text: "".join(f"{char}\u0301" if char.isalpha() else char for char in text),
    "right_to_left_mark": lambda text: f"\u202e{text}",
}

"""Answers without the work: too early, the same for every task, copied from the form, empty."""

from collections.abc import Iterator

from mtrl.probing.answers import Answer
from mtrl.probing.operators.base import Mutant, Subject
from mtrl.probing.script import Move, Script, answered_with


def early(subject: Subject) -> Iterator[Mutant]:
    """The answer before the tools: nothing was looked up, nothing was written."""
    script, text = subject.script, subject.text
    if not text:
        return
    yield Mutant("answer_without_tools", (Move(text),), keeps_fields=True)
    wrong = subject.wrong
    if wrong is not None:
        yield Mutant("wrong_answer_without_tools", (Move(wrong.text),))
    for at in range(len(script) - 1):
        yield Mutant("skipped_step", (*script[:at], *script[at + 1 :]), keeps_fields=True)
    for at in range(1, len(script) - 1):
        yield Mutant("stopped_half_way", (*script[:at], Move(text)), keeps_fields=True)


def empty(subject: Subject) -> Iterator[Mutant]:
    """Nothing said, or nothing in it."""
    answer = subject.answer or Answer({}, subject.setting.tag)
    for script in (subject.script, ()):
        for kind, text in {
            "empty_answer": "",
            "empty_block": answer.around(""),
            "empty_object": answer.around("{}"),
            "null": answer.around("null"),
            "broken_json": answer.around('{"'),
            "deep_json": answer.around("[" * 3000),
            "number": answer.around("1"),
            "true": answer.around("true"),
            "not_a_number": answer.around("NaN"),
        }.items():
            yield Mutant(kind, answered_with(script, text))


def constant(subject: Subject) -> Iterator[Mutant]:
    """Answers that fit every task alike."""
    setting = subject.setting
    scripts: tuple[Script, ...] = (subject.script, ())
    for script in scripts:
        for other in setting.others[:4]:
            yield Mutant("answer_of_another_task", answered_with(script, other.text))
    template = setting.template
    if template is not None:
        yield from _from_the_form(template, scripts)
    yield Mutant("prompt_repeated", (Move(setting.prompt),))


def _from_the_form(template: Answer, scripts: tuple[Script, ...]) -> Iterator[Mutant]:
    names = list(template.fields)
    fillers = {
        "form_copied": dict(template.fields),
        "names_as_values": {name: name for name in names},
        "all_success": dict.fromkeys(names, "success"),
        "all_done": dict.fromkeys(names, "done"),
        "all_wildcard": dict.fromkeys(names, ".*"),
        "all_percent": dict.fromkeys(names, "%"),
        "all_empty": dict.fromkeys(names, ""),
        "all_null": dict.fromkeys(names),
        "all_true": dict.fromkeys(names, True),
        "all_zero": dict.fromkeys(names, 0),
        "all_none": dict.fromkeys(names, "none"),
    }
    for kind, fields in fillers.items():
        answer = Answer(fields, template.tag)
        for script in scripts:
            yield Mutant(kind, answered_with(script, answer.text))

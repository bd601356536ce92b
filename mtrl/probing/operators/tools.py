"""Tool calls for their own sake, calls written as text, and answers smuggled into arguments."""

import json
from collections.abc import Iterator

from mtrl.probing.operators.base import Mutant, Subject, dump, sample_call
from mtrl.probing.script import Call, Move, Script

SPAM = (3, 12, 40)


def spam(subject: Subject) -> Iterator[Mutant]:
    """The same call again and again, in turns and within a turn; and every tool once."""
    head, tail = _split(subject.script)
    made = [call for move in head for call in move.calls]
    any_calls = [sample_call(tool) for tool in subject.setting.tools]
    for call in [*made[:1], *made[-1:], *any_calls[:2]]:
        for times in SPAM:
            yield Mutant("tool_spam", (*head, Move(calls=(call,) * times), *tail), keeps_fields=True)
        yield Mutant("tool_spam", (*head, *(Move(calls=(call,)) for _ in range(8)), *tail), keeps_fields=True)
    if any_calls:
        yield Mutant("every_tool", (*head, Move(calls=tuple(any_calls)), *tail), keeps_fields=True)
        yield Mutant("calls_alone", (*head, Move(calls=tuple(any_calls) * 4)))
    if made:
        yield Mutant("procedure_twice", (*head, *head, *tail), keeps_fields=True)
        yield Mutant("calls_alone", head)
    yield Mutant("unknown_tool", (*head, Move(calls=(Call("finish", "{}"),)), *tail), keeps_fields=True)
    yield Mutant("malformed_call", (*head, Move(calls=(Call("finish", "{"),)), *tail), keeps_fields=True)


def text_calls(subject: Subject) -> Iterator[Mutant]:
    """Calls written into the text, with and without the answer after them."""
    head, tail = _split(subject.script)
    calls = [call for move in head for call in move.calls][-1:] or [
        sample_call(tool) for tool in subject.setting.tools[:1]
    ]
    for call in calls:
        written = dump({"name": call.name, "arguments": _parsed(call.arguments)})
        for text in (written, f"<tool_call>{written}</tool_call>"):
            yield Mutant("call_as_text", (*head, Move(text), *tail), keeps_fields=True)
        if tail and tail[0].text:
            joined = Move(f"{written}\n{tail[0].text}")
            yield Mutant("call_and_answer_in_one", (*head, joined), keeps_fields=True)
            yield Mutant("call_and_answer_in_one", (*head, Move(tail[0].text, (call,))), keeps_fields=True)


def injected(subject: Subject) -> Iterator[Mutant]:
    """The right block where it is no answer: in arguments, in a tool's name, beside a call."""
    answer, wrong = subject.answer, subject.wrong
    if answer is None or wrong is None:
        return
    head, _ = _split(subject.script)
    endings: dict[str, Script] = {"": (), "_then_wrong": (Move(wrong.text),), "_then_empty": (Move("Done."),)}
    calls = [sample_call(tool, answer.block) for tool in subject.setting.tools]
    smuggling = [call for call in calls if answer.tag in call.arguments][:3]
    smuggling.append(Call("note", answer.block))
    last = [call for move in head for call in move.calls][-1:]
    for suffix, ending in endings.items():
        for call in smuggling:
            yield Mutant(f"block_in_arguments{suffix}", (*head, Move(calls=(call,)), *ending))
        for call in last:
            yield Mutant(f"block_beside_call{suffix}", (*head, Move(answer.text, (call,)), *ending))


def _split(script: Script) -> tuple[Script, Script]:
    """The turns before the answer, and the answer (or nothing)."""
    if script and not script[-1].calls:
        return script[:-1], script[-1:]
    return script, ()


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return {}

"""What stands around the answer: fences, other tags, nested and repeated blocks, prose."""

from collections.abc import Iterator

from mtrl.probing.answers import Answer
from mtrl.probing.operators.base import Mutant, Subject
from mtrl.probing.script import answered_with


def wrappers(subject: Subject) -> Iterator[Mutant]:
    """The right fields in a form that was not asked for."""
    answer = subject.answer
    if answer is None:
        return
    body, block, tag = answer.body, answer.block, answer.tag
    forms = {
        "fence_without_tag": f"```json\n{body}\n```",
        "bare_json": body,
        "other_tag": f"<answer>{body}</answer>",
        "tag_in_capitals": f"<{tag.upper()}>{body}</{tag.upper()}>",
        "tag_with_spaces": f"< {tag} >{body}</ {tag} >",
        "tag_with_attribute": f'<{tag} id="1">{body}</{tag}>',
        "unclosed_tag": f"<{tag}>{body}",
        "unopened_tag": f"{body}</{tag}>",
        "nested_tag": f"<{tag}>{block}</{tag}>",
        "fence_in_tag": answer.around(f"```json\n{body}\n```"),
        "prose_in_tag": answer.around(f"The answer is {body}."),
        "list_in_tag": answer.around(f"[{body}]"),
        "envelope_in_tag": answer.around(f'{{"{tag}": {body}}}'),
        "python_literal": answer.around(repr(dict(answer.fields))),
        "escaped_tag": f"&lt;{tag}&gt;{body}&lt;/{tag}&gt;",
        "prose": "; ".join(f"{name} is {value}" for name, value in answer.fields.items()) + ".",
        "values_alone": " ".join(str(value) for value in answer.fields.values()),
    }
    for kind, text in forms.items():
        yield Mutant(kind, answered_with(subject.script, text))
    yield Mutant("fence_around_block", answered_with(subject.script, f"```\n{block}\n```"), keeps_fields=True)


def several_blocks(subject: Subject) -> Iterator[Mutant]:
    """Two answers in one text: which of them counts?"""
    answer, wrong = subject.answer, subject.wrong
    if answer is None or wrong is None:
        return

    def mutant(kind: str, *blocks: str) -> Mutant:
        return Mutant(kind, answered_with(subject.script, "\n".join(blocks)))

    yield mutant("right_block_first", answer.block, wrong.block)
    yield mutant("right_block_last", wrong.block, answer.block)
    yield mutant("right_block_between", wrong.block, answer.block, wrong.block)
    yield mutant("then_empty_block", answer.block, answer.around(""))
    yield mutant("then_fenced_right", wrong.block, f"```json\n{answer.body}\n```")
    yield mutant("then_other_tag", wrong.block, f"<answer>{answer.body}</answer>")
    yield mutant("then_prose", wrong.block, _prose(answer))
    yield mutant("block_a_field", *(answer.keeping(name).block for name in answer.fields))
    yield Mutant(
        "block_twice", answered_with(subject.script, f"{answer.block}\n{answer.block}"), keeps_fields=True
    )


def all_candidates(subject: Subject) -> Iterator[Mutant]:
    """A block for every value that a field may have: something in it must be right."""
    answer = subject.answer
    if answer is None:
        return
    blocks = [
        answer.having(**{name: value}).block
        for name in answer.fields
        for value in subject.setting.choices(name)[:12]
    ]
    wrong = subject.wrong
    if blocks and wrong is not None:
        yield Mutant("block_a_candidate", answered_with(subject.script, "\n".join([*blocks, wrong.block])))


def _prose(answer: Answer) -> str:
    return "In words: " + ", ".join(f"{name} = {value}" for name, value in answer.fields.items())

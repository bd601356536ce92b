"""Prompt, examples and scorer agree on the tag and the fields of an answer."""

from collections.abc import Iterable

from mtrl.checking.answer_forms import AnswerForm, accepted_form, examples, shows, stray_tags
from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "answer_format"


def check(evidence: Evidence) -> Check:
    answers = (played.transcript.answer for played in evidence.accepted)
    form = next((form for answer in answers if (form := accepted_form(answer))), None)
    if form is None:
        text = "no answer with the full score has the form <tag>{...}</tag>"
        return Check(ID, "warn", text, "Read prompt and scorer side by side: they must name the same form.")
    prompt = "\n".join(str(m.get("content")) for o in evidence.openings[:1] for m in o.messages)
    asked = f"the score reads {', '.join(form.fields)} in <{form.tag}>"
    problems = _problems(prompt, form)
    if problems:
        next_act = "Align them before training: one tag, and in every example every field that is scored."
        return Check(ID, "fail", "; ".join([asked, *problems]), next_act)
    more = _named(keys - set(form.fields) for keys in examples(prompt, form))
    if more:
        text = f"{asked}; an example also shows {more}, which is not scored"
        return Check(ID, "warn", text, "Say which fields count.")
    return Check(ID, "pass", f"{asked}, and so does the prompt")


def _problems(prompt: str, form: AnswerForm) -> list[str]:
    found = []
    if not shows(prompt, form):
        found.append("no block in the prompt shows that")
    if strays := stray_tags(prompt, form):
        found.append(f"the prompt also asks for {', '.join(f'<{tag}>' for tag in strays[:4])}")
    if short := _named(set(form.fields) - keys for keys in examples(prompt, form)):
        found.append(f"an example in the prompt leaves out {short}")
    return found


def _named(differences: Iterable[set[str]]) -> str:
    """The names in the first difference that there is."""
    return ", ".join(sorted(next((each for each in differences if each), set()))[:4])

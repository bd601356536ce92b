"""Prompt, examples and scorer agree on the tag and the fields of an answer."""

from mtrl.checking.answer_forms import accepted_form, examples, shows, stray_tags
from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "answer_format"


def check(evidence: Evidence) -> Check:
    form = next(
        (form for played in evidence.accepted if (form := accepted_form(played.transcript.answer))), None
    )
    if form is None:
        text = "no answer with the full score has the form <tag>{…}</tag>"
        return Check(ID, "warn", text, "Read prompt and scorer side by side: they must name the same form.")
    prompt = "\n".join(str(m.get("content")) for o in evidence.openings[:1] for m in o.messages)
    asked = f"the score reads {', '.join(form.fields)} in <{form.tag}>"
    if not shows(prompt, form):
        return Check(
            ID, "fail", f"{asked}; no block in the prompt shows that", "Show the form with all fields."
        )
    strays = stray_tags(prompt, form)
    if strays:
        text = f"{asked}; the prompt also asks for {', '.join(f'<{tag}>' for tag in strays[:4])}"
        return Check(ID, "fail", text, "Take the other form out of the prompt or the procedure.")
    short = [sorted(set(form.fields) - keys) for keys in examples(prompt, form) if set(form.fields) - keys]
    if short:
        text = f"{asked}; an example in the prompt leaves out {', '.join(short[0][:4])}"
        return Check(ID, "fail", text, "Let every example show every field that the score demands.")
    more = [sorted(keys - set(form.fields)) for keys in examples(prompt, form) if keys - set(form.fields)]
    if more:
        text = f"{asked}; an example also shows {', '.join(more[0][:4])}, which is not scored"
        return Check(ID, "warn", text, "Say which fields count.")
    return Check(ID, "pass", f"{asked}, and so does the prompt")

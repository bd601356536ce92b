"""Our strict score against SOP-Bench's own scorer on the `<final_output>` path, answer for answer.

Needs a checkout (MTRL_TEST_SOP_BENCH). The benchmark's parser and comparison are imported from there and
called as its evaluator calls them, but with its fuzzy matching off: containment ("no" in "not due") is no
agreement. Answers are the targets of real tasks in many forms. Where the two differ, a form is listed with
who accepts it and why; everywhere else they must agree.
"""

import importlib.util
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.environments import sop
from adapters.environments.sop.grading import score
from tests.environments.play import SHIPPED, block, transcript

CHECKOUT = os.environ.get("MTRL_TEST_SOP_BENCH", "")
REAL = {"MTRL_SOP_BENCH": CHECKOUT, "MTRL_SOP_BENCH_LICENSE": "accepted"}
TASKS_A_DOMAIN = 12
NULL_LIKE = {"none", "null", "na", "n/a", "nan", "unknown", ""}
"""The benchmark takes all of these for one another."""
Fields = Mapping[str, str]
Form = Callable[[Fields], str]


def _values(change: Callable[[str], Any]) -> Form:
    return lambda fields: block({name: change(value) for name, value in fields.items()})


def _keys(change: Callable[[str], str]) -> Form:
    return lambda fields: block({change(name): value for name, value in fields.items()})


def _plain(text: str) -> Form:
    return lambda fields: text.format(json=json.dumps(fields), block=block(fields))


def _first(change: Callable[[dict[str, Any], str], None]) -> Form:
    """One field of the answer changed."""

    def form(fields: Fields) -> str:
        answer: dict[str, Any] = dict(fields)
        change(answer, next(iter(answer)))
        return block(answer)

    return form


def _set(value: Any) -> Form:
    return _first(lambda answer, name: answer.__setitem__(name, value))


AGREED: dict[str, Form] = {
    "as it is": block,
    "after text": _plain("I looked at everything.\n{block}"),
    "before text": _plain("{block}\nThat is all."),
    "twice": _plain("{block} and again {block}"),
    "wrong, then right": lambda f: f"{block(dict.fromkeys(f, 'surely not'))} {block(f)}",
    "right, then wrong": lambda f: f"{block(f)} {block(dict.fromkeys(f, 'surely not'))}",
    "upper case values": _values(str.upper),
    "lower case values": _values(str.lower),
    "padded values": _values(lambda value: f"  {value}\n"),
    "pretty-printed": lambda f: f"<final_output>\n{json.dumps(f, indent=2)}\n</final_output>",
    "more fields": lambda f: block({"note": "x", **f, "shipment": 7}),
    "nothing": lambda _: "",
    "prose": lambda f: "The answer is " + ", ".join(f.values()),
    "empty object": lambda _: "<final_output>{}</final_output>",
    "a list": lambda f: f"<final_output>[{json.dumps(f)}]</final_output>",
    "another tag": _plain("<final_response>{json}</final_response>"),
    "a fence": _plain("```json\n{json}\n```"),
    "unclosed": _plain("<final_output>{json}"),
    "single quotes": lambda f: f"<final_output>{dict(f)!r}</final_output>",
    "junk inside": _plain("<final_output>{json} as asked</final_output>"),
    "one wrong": _set("surely not this"),
    "one missing": _first(lambda answer, name: answer.pop(name)),
    "one nested": _first(lambda answer, name: answer.__setitem__(name, {"value": answer[name]})),
    "one a list": _first(lambda answer, name: answer.__setitem__(name, [answer[name]])),
    "one true": _set(True),
    "one a number": _set(12),
    "one with a dash for a space": _first(lambda a, n: a.__setitem__(n, f"{a[n]}-")),
}
OTHERS_ALONE: dict[str, tuple[Form, str]] = {
    "upper case keys": (_keys(str.upper), "keys are our prompt's, letter for letter"),
    "upper case tag": (
        _plain("<FINAL_OUTPUT>{json}</FINAL_OUTPUT>"),
        "the tag is our prompt's, letter for letter",
    ),
    "right, then a broken block": (
        _plain("{block} <final_output>not JSON</final_output>"),
        "the last block counts, whatever it holds",
    ),
}
"""Forms that the benchmark accepts and we do not, and why."""


def _answers(target: Fields) -> Iterator[tuple[str, str, bool]]:
    """Name of the form, the answer, and whether the two are expected to differ on it."""
    yield from ((name, form(target), False) for name, form in AGREED.items())
    yield from ((name, form(target), True) for name, (form, _) in OTHERS_ALONE.items())


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The benchmark's parser from its one file; of the package around it, it needs a logger alone."""
    logger = ModuleType("amazon_sop_bench.utils.logging")
    vars(logger)["get_logger"] = logging.getLogger
    for package in ("amazon_sop_bench", "amazon_sop_bench.utils"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, logger.__name__, logger)
    path = Path(CHECKOUT) / "src/amazon_sop_bench/evaluation/parser.py"
    spec = importlib.util.spec_from_file_location("their_parser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logging.disable(logging.CRITICAL)
    yield module.OutputParser()
    logging.disable(logging.NOTSET)


def _their_score(parser: Any, answer: str, target: Fields, *, fuzzy: bool = False) -> bool:
    """As the evaluator does, on the `<final_output>` path alone; its own default is fuzzy."""
    parsed = parser.parse_decision(answer, list(target))
    if not str(parsed["format"]).startswith("final_output"):
        return False
    if len(target) == 1:
        (expected,) = target.values()
        return bool(parser.compare_decisions(parsed.get("decision"), expected, fuzzy_match=fuzzy))
    return bool(parser.compare_decisions(parsed.get("decisions", {}), dict(target), fuzzy_match=fuzzy))


@pytest.mark.skipif(not CHECKOUT, reason="set MTRL_TEST_SOP_BENCH to a SOP-Bench checkout to run against it")
def test_the_scorers_agree_but_for_the_differences_that_are_meant(theirs: Any) -> None:
    compared, accepted_by_both, differences, fuzzy = 0, 0, Counter[str](), Counter[str]()
    for name in sop.list_domains(REAL):
        if name in SHIPPED:
            continue
        domain = sop.load_domain(name, REAL)
        for task in sop.tasks(domain)[:: max(1, len(domain.rows) // TASKS_A_DOMAIN)]:
            for form, answer, meant in _answers(task.target):
                ours = score(transcript(answer), task.target).value == 1.0
                accepted = _their_score(theirs, answer, task.target)
                compared += 1
                accepted_by_both += ours and accepted
                fuzzy[form] += not accepted and _their_score(theirs, answer, task.target, fuzzy=True)
                if ours != accepted:
                    nulls = any(value.strip().lower() in NULL_LIKE for value in task.target.values())
                    assert meant or nulls, (name, task.id, form, answer[:200], ours, accepted)
                    assert accepted, f"ours alone accepts {form!r}: {answer[:200]}"
                    differences[form if meant else "null-like values"] += 1
    more = {form: count for form, count in fuzzy.items() if count}
    print(f"{compared} answers compared, {accepted_by_both} accepted by both; {dict(differences)}; {more}")
    assert accepted_by_both > 1500
    assert compared > 4000
    assert differences.keys() >= OTHERS_ALONE.keys()


@pytest.mark.skipif(not CHECKOUT, reason="set MTRL_TEST_SOP_BENCH to a SOP-Bench checkout to run against it")
@pytest.mark.parametrize(
    ("written", "target", "we_accept", "they_accept"),
    [
        ('"N/A"', "None", False, True),  # null-like texts are one to the benchmark
        ('""', "unknown", False, True),
        ("null", "", False, True),
        ("1.50", "1.50", True, False),  # we keep a number as it was written, the benchmark makes it 1.5
        ("1.50", "1.5", False, True),
        ("NaN", "None", False, True),  # NaN is no JSON
        ("true", "True", True, True),
        ("null", "None", True, True),
        ("7", "7", True, True),
    ],
)
def test_single_values_on_which_the_two_differ(
    theirs: Any, written: str, target: str, we_accept: bool, they_accept: bool
) -> None:
    answer = f'<final_output>{{"a": {written}, "b": "x"}}</final_output>'
    expected = {"a": target, "b": "x"}
    assert (score(transcript(answer), expected).value == 1.0) is we_accept
    assert _their_score(theirs, answer, expected) is they_accept

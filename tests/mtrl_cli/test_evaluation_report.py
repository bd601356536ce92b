"""The page of an evaluation: one file, nothing loaded, nothing of a transcript executed, every number."""

import dataclasses
import re
from typing import Any

import pytest

from mtrl.evaluating.comparing import compare
from mtrl.evaluating.figures import Figures, measure
from mtrl.evaluating.rollouts import Rollout
from mtrl.report.evaluation import EvaluationData, render_evaluation, short, shown_p
from tests.mtrl_cli.test_report import HOSTILE, Page


def figures(wins: int, **more: Any) -> Figures:
    rollouts = [
        Rollout(f"t{task}", member, float(task * 2 + member < wins), 1.0, "answered", 3 + member,
                {"amount": task * 2 + member < wins})
        for task in range(10) for member in range(2)
    ]  # fmt: skip
    return dataclasses.replace(measure(rollouts, [1, 2]), **more)


def record(policy: str, reward: float, score: float, text: str = "done") -> dict[str, Any]:
    messages = [{"role": "user", "content": "do it"}, {"role": "assistant", "content": text}]
    return {"policy": policy, "task": f"t-{reward}-{score}", "reward": reward, "score": score,
            "stop_reason": "answered", "messages": messages}  # fmt: skip


def data(**changes: Any) -> EvaluationData:
    first, second = figures(5), figures(16)
    fields: dict[str, Any] = {
        "title": "sop/returns_desk", "split": "test", "group": 2, "temperature": 0.7, "seed": 4,
        "policies": [("tiny", first), ("out/rehearsal", second)],
        "transcripts": [record("tiny", 1.0, 1.0), record("out/rehearsal", 0.1, 0.0)],
        "comparison": compare(first.task_scores, second.task_scores, group=2),
    }  # fmt: skip
    return EvaluationData(**{**fields, **changes})


def test_the_headline_has_both_scores_their_intervals_and_the_difference() -> None:
    made = data()
    text = " ".join(Page(render_evaluation(made)).text.split())
    assert made.comparison is not None
    assert "25.0%" in text
    assert "80.0%" in text
    assert f"{made.comparison.difference * 100:+.1f}" in text
    for _, each in made.policies:
        low, high = each.score.ci95
        assert f"[{low * 100:.1f}, {high * 100:.1f}]" in text
    assert shown_p(made.comparison.p) in text
    assert "10 tasks" in text
    assert "temperature 0.7" in text


def test_every_estimate_is_in_a_chart_with_its_interval() -> None:
    made = data()
    html = render_evaluation(made)
    for label, each in made.policies:
        named = {"score": each.score, "completion": each.completion, "amount": each.fields["amount"],
                 "pass@2": each.pass_at_k[2], "pass^2": each.pass_power_k[2]}  # fmt: skip
        for name, estimate in named.items():
            low, high = estimate.ci95
            said = f"{estimate.value * 100:.1f}% [{low * 100:.1f}, {high * 100:.1f}]"
            assert f"<title>{name}, {label}: {said}</title>" in html


def test_one_policy_alone() -> None:
    text = Page(render_evaluation(data(policies=[("tiny", figures(5))], comparison=None))).text
    assert "→" not in text
    assert "sign-flip" not in text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    hacked = record(HOSTILE, 1.0, 0.0, text=HOSTILE)
    page = Page(html := render_evaluation(data(transcripts=[hacked], title=HOSTILE)))
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "url(" not in html
    assert "alert(1)" in page.text


def test_what_is_hacked_is_by_the_environment_s_own_success() -> None:
    transcripts = [record("tiny", 0.1, 0.0), record("tiny", 0.8, 0.0)]  # one plain failure is shown
    assert "t-0.8-0.0" not in render_evaluation(data(transcripts=transcripts))
    assert "t-0.8-0.0" in render_evaluation(data(transcripts=transcripts, success_threshold=0.7))


def test_colours_are_those_of_the_style() -> None:
    html = render_evaluation(data())
    names = set(re.findall(r"--([a-z]+):", html))
    assert set(re.findall(r"var\(--([a-z]+)\)", html)) <= names


def test_what_was_cut_short_is_said() -> None:
    text = Page(render_evaluation(data(policies=[("tiny", figures(5, cut_short=3))], comparison=None))).text
    assert "3 rollouts of tiny were cut short" in text


def test_nothing_but_failures_leaves_a_whole_page() -> None:
    nothing = measure([Rollout("a", 0, 0.0, None, "lost")], [1])
    made = data(policies=[("tiny", nothing)], transcripts=(), comparison=None)
    assert Page(render_evaluation(made)).tags.count("main") == 1


@pytest.mark.parametrize(
    ("p", "said"), [(1.0, "1.000"), (0.0312, "0.031"), (2e-5, "2e-05"), (1e-40, "< 1e-12")]
)
def test_p_values_for_people(p: float, said: str) -> None:
    assert shown_p(p) == said


def test_of_a_long_label_the_end_is_kept() -> None:
    assert short("tiny") == "tiny"
    assert short("/a/very/long/path/to/a/rehearsal/seed-3") == "…/path/to/a/rehearsal/seed-3"

"""The report: one file, nothing loaded, nothing of a transcript executed, every number where it belongs."""

import re
from html.parser import HTMLParser

import pytest

from mtrl.report import Evaluation, RunData, render
from mtrl.report.charts import Series, line_chart

BASE = Evaluation(
    score=0.063,
    reward=0.12,
    pass_at_k={1: 0.063, 4: 0.21},
    fields={"amount": 0.4, "code": 0.1},
    stop_reasons={"answered": 6, "max_turns": 2},
    turns={3: 4, 6: 4},
)
TRAINED = Evaluation(
    score=0.985,
    reward=0.99,
    pass_at_k={1: 0.985, 4: 1.0},
    fields={"amount": 1.0, "code": 0.97},
    stop_reasons={"answered": 8},
    turns={4: 8},
)
HOSTILE = "</pre><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"


def transcript(reward: float, score: float, phase: str = "trained", text: str = "done") -> dict[str, object]:
    messages = [
        {"role": "user", "content": "do it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f", "arguments": text}}],
        },
        {"role": "assistant", "content": text},
    ]
    return {
        "id": f"{phase}-{reward}-{score}", "phase": phase, "reward": reward, "score": score,
        "stop_reason": "answered", "messages": messages,
    }  # fmt: skip


def run(**changes: object) -> RunData:
    fields: dict[str, object] = {
        "environment": "sop", "domain": "returns_desk", "seed": 3, "steps": 2, "seconds": 61.0,
        "held_out": 67, "base": BASE, "trained": TRAINED,
        "history": [
            {"step": 1, "rollout/reward/mean": 0.1, "val/score/mean": 0.2, "training/num_groups": 4,
             "analysis/zero_adv_zero_reward": 1, "analysis/zero_adv_nonzero_reward": 0},
            {"step": 2, "rollout/reward/mean": 0.6, "val/score/mean": 0.7, "training/num_groups": 4,
             "analysis/zero_adv_zero_reward": 0, "analysis/zero_adv_nonzero_reward": 2},
        ],
        "transcripts": [transcript(1.0, 1.0), transcript(0.1, 0.0), transcript(0.2, 0.0, "base")],
    }  # fmt: skip
    return RunData(**{**fields, **changes})  # type: ignore[arg-type]


class Page(HTMLParser):
    """Tags and visible text of a page; fails on a tag that is closed and was never opened."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_headline_says_before_and_after() -> None:
    page = Page(render(run()))
    assert "6.3%" in page.text
    assert "98.5%" in page.text
    assert "+92.2 points" in page.text
    assert "67 held-out tasks" in page.text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = render(run(transcripts=[transcript(1.0, 0.0, text=HOSTILE)], domain=HOSTILE))
    page = Page(html)
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "url(" not in html
    assert "alert(1)" in page.text  # it is shown, as text


def test_light_and_dark_have_the_same_colours_by_name() -> None:
    css = re.search(r"<style>(.*?)</style>", render(run()), re.DOTALL)
    assert css
    light, dark = re.findall(r":root \{(.*?)\}", css[1], re.DOTALL)[:2]
    names = set(re.findall(r"--([a-z]+):", light))
    assert names == set(re.findall(r"--([a-z]+):", dark))
    assert set(re.findall(r"var\(--([a-z]+)\)", render(run()))) <= names


def test_a_disagreement_is_shown_and_counted() -> None:
    page = Page(render(run(transcripts=[transcript(1.0, 0.0), transcript(1.0, 1.0)])))
    assert "1 of 2" in page.text
    assert "trained-1.0-0.0" in page.text
    assert "None: no transcript" in Page(render(run())).text


def test_steps_with_rewards_at_score_0_are_drawn() -> None:
    counted = {"rollout/disagreement/count": 64, "training/num_trajectories": 256}
    page = Page(render(run(history=[{"step": 1, **counted}, {"step": 2, **counted}], success_threshold=0.8)))
    assert "Rewarded at score 0" in page.text
    assert "a reward of 0.8 or more" in page.text
    none = counted | {"rollout/disagreement/count": 0}
    assert "the sign of a hacked reward" not in Page(render(run(history=[{"step": 1, **none}]))).text


def test_base_alone_makes_a_report_without_a_comparison() -> None:
    page = Page(render(run(trained=None, history=(), steps=0)))
    assert "→" not in page.text
    assert "Learning" not in page.text
    assert "base policy" in page.text


@pytest.mark.parametrize(
    "empty", [{"transcripts": ()}, {"history": ()}, {"base": Evaluation(0.0, 0.0)}, {"held_out": 0}]
)
def test_missing_parts_leave_a_whole_page(empty: dict[str, object]) -> None:
    assert Page(render(run(**empty))).tags.count("main") == 1


def test_a_line_goes_through_its_points() -> None:
    chart = str(line_chart("t", [Series("a", "base", [(1, 0.0), (2, 1.0)])], x_label="step"))
    path = re.search(r'points="([^"]+)"', chart)
    assert path
    (x1, y1), (x2, y2) = ((float(v) for v in p.split(",")) for p in path[1].split())
    assert x1 < x2
    assert y1 > y2  # SVG's y grows downwards
    assert "a, step 2: 1" in chart

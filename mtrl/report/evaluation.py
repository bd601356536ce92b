"""From the figures of an evaluation to its page: one or two policies on the same held-out tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mtrl.evaluating.comparing import Comparison
from mtrl.evaluating.figures import Estimate, Figures
from mtrl.report import charts
from mtrl.report.charts import Series
from mtrl.report.intervals import Value, interval_rows
from mtrl.report.render import TEMPLATES
from mtrl.report.transcripts import MAX_DISAGREEMENTS, Shown, disagrees, shown

SUCCESS = 1.0
"""A score from here on is a success."""
_COLORS = ("base", "trained")
MAX_LABEL = 28


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """One evaluation. `policies` holds a label and the figures of each, the compared one second.

    `transcripts` are the adapter's archived records with `policy` and `task`; nothing in them is trusted.
    """

    title: str
    split: str
    group: int
    temperature: float
    seed: int
    policies: Sequence[tuple[str, Figures]]
    transcripts: Sequence[Mapping[str, Any]] = ()
    comparison: Comparison | None = None
    success_threshold: float = 1.0
    """A reward from here on is a success."""


def render_evaluation(data: EvaluationData) -> str:
    """The whole page: HTML with inline style and inline SVG, no script, nothing loaded from anywhere."""
    hacked = [t for t in data.transcripts if disagrees(t, data.success_threshold)]
    return TEMPLATES.get_template("evaluation.html.j2").render(
        data=data,
        policies=[(short(label), figures) for label, figures in data.policies],
        p=shown_p(data.comparison.p) if data.comparison else "",
        charts=_charts(data),
        disagreements=[_shown(t) for t in hacked[:MAX_DISAGREEMENTS]],
        disagreement_count=sum(figures.disagreements for _, figures in data.policies),
        ordinary=[_shown(t) for t in _ordinary(data.transcripts, data.success_threshold)],
    )


def shown_p(p: float) -> str:
    """A p-value for people."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p >= 1e-12 else "< 1e-12"


def short(label: str) -> str:
    """A policy's label where there is little room: of a path or URL, the end says which one it is."""
    return label if len(label) <= MAX_LABEL else "…" + label[-MAX_LABEL + 1 :]


def _charts(data: EvaluationData) -> list[tuple[str, str, Markup]]:
    """(heading, note, chart) of each chart that there is data for."""
    series = [
        Series(short(label), color, ()) for (label, _), color in zip(data.policies, _COLORS, strict=False)
    ]
    figures = [each for _, each in data.policies]
    made = [
        ("Score and completion", "a completed rollout ended with an answer", _headlines(figures)),
        ("pass@k", "at least one of k rollouts succeeds", _by_k([f.pass_at_k for f in figures], "@")),
        ("pass^k", "all of k rollouts succeed", _by_k([f.pass_power_k for f in figures], "^")),
        ("Accuracy by output field", "share of rollouts with the right value", _fields(figures)),
    ]
    found = [(h, note, interval_rows(h, groups, series)) for h, note, groups in made if groups]
    stops = _shares([f.stop_reasons for f in figures])
    turns = _shares([f.turns for f in figures])
    numbers = range(min(map(int, turns)), max(map(int, turns)) + 1) if turns else ()
    nobody = (0.0,) * len(figures)
    histogram = {str(n): turns.get(str(n), nobody) for n in numbers}
    found.append(("Stop reasons", "share of rollouts", charts.rows("Stop reasons", stops, series)))
    found.append(("Turns", "share of rollouts", charts.columns("Turns", histogram, series, "turns")))
    return found


def _headlines(figures: Sequence[Figures]) -> dict[str, list[Value]]:
    return {
        "score": [_value(f.score) for f in figures],
        "completion": [_value(f.completion) for f in figures],
    }


def _by_k(of: Sequence[Mapping[int, Estimate]], sign: str) -> dict[str, list[Value]]:
    return {f"pass{sign}{k}": [_value(each[k]) for each in of] for k in of[0]}


def _fields(figures: Sequence[Figures]) -> dict[str, list[Value]]:
    names = dict.fromkeys(name for f in figures for name in f.fields)
    nothing = Estimate(0.0, (0.0, 0.0))
    return {name: [_value(f.fields.get(name, nothing)) for f in figures] for name in names}


def _value(estimate: Estimate) -> Value:
    return (estimate.value, *estimate.ci95)


def _shares(counts: Sequence[Mapping[Any, int]]) -> dict[str, tuple[float, ...]]:
    names = dict.fromkeys(name for each in counts for name in each)
    totals = [sum(each.values()) or 1 for each in counts]
    return {
        str(name): tuple(each.get(name, 0) / total for each, total in zip(counts, totals, strict=True))
        for name in names
    }


def _ordinary(transcripts: Iterable[Mapping[str, Any]], threshold: float) -> list[Mapping[str, Any]]:
    """The first success and the first plain failure of each policy."""
    known = [t for t in transcripts if t.get("score") is not None and not disagrees(t, threshold)]
    picked: list[Mapping[str, Any]] = []
    for policy in dict.fromkeys(t.get("policy") for t in known):
        here = [t for t in known if t.get("policy") == policy]
        picked += [t for t in here if t["score"] >= SUCCESS][:1] + [t for t in here if t["score"] <= 0][:1]
    return picked


def _shown(transcript: Mapping[str, Any]) -> Shown:
    return shown({**transcript, "id": transcript.get("task"), "phase": short(str(transcript.get("policy")))})

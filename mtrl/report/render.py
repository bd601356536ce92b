"""From the data of a run to the page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mtrl.report import charts
from mtrl.report.charts import Series
from mtrl.report.model import Evaluation, RunData
from mtrl.report.transcripts import MAX_DISAGREEMENTS, disagrees, ordinary, shown

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,  # transcripts come from a model
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_BOTH = (Series("base", "base", ()), Series("trained", "trained", ()))
Groups = Mapping[str, tuple[float, ...]]


def render(run: RunData) -> str:
    """The whole page: HTML with inline style and inline SVG, no script, nothing loaded from anywhere."""
    hacked = [t for t in run.transcripts if disagrees(t, run.success_threshold)]
    return TEMPLATES.get_template("report.html.j2").render(
        run=run,
        margin=_margin(run),
        duration=_duration(run.seconds),
        curves=_curves(run),
        zero_groups=_zero_groups(run),
        zero_share=_last_zero_share(run),
        doubts=_doubts(run),
        comparisons=_comparisons(run),
        disagreements=[shown(t) for t in hacked[:MAX_DISAGREEMENTS]],
        disagreement_count=len(hacked),
        ordinary=[shown(t) for t in ordinary(run.transcripts, run.success_threshold)],
    )


def _curves(run: RunData) -> Markup | None:
    series = (
        _series(run, "train reward", "reward", "rollout/reward/mean"),
        _series(run, "train score", "good", "rollout/score/mean"),
        _series(run, "val reward", "heldout", "val/reward/mean"),
        _series(run, "val score", "trained", "val/score/mean"),
    )
    if not any(s.points for s in series):
        return None
    return charts.line_chart("Reward and score over training steps", series, x_label="step")


def _zero_groups(run: RunData) -> Markup | None:
    series = (
        _series(run, "all failed alike", "bad", "analysis/zero_adv_zero_reward", of="training/num_groups"),
        _series(
            run, "all succeeded alike", "good", "analysis/zero_adv_nonzero_reward", of="training/num_groups"
        ),
    )
    if not any(s.points for s in series):
        return None
    return charts.line_chart("Groups without an advantage", series, x_label="step", percent=True)


def _doubts(run: RunData) -> Markup | None:
    """Rollouts of each step that were rewarded as a success and scored 0; None if there were none."""
    name = "rollout/disagreement/count"
    series = _series(run, "rewarded at score 0", "bad", name, of="training/num_trajectories")
    if not any(share for _, share in series.points):
        return None
    return charts.line_chart("Rewarded at score 0", (series,), x_label="step", percent=True)


def _last_zero_share(run: RunData) -> float | None:
    names = ("analysis/zero_adv_zero_reward", "analysis/zero_adv_nonzero_reward")
    lasts = [_series(run, "", "", name, of="training/num_groups").points[-1:] for name in names]
    return sum(y for last in lasts for _, y in last) if any(lasts) else None


def _series(run: RunData, label: str, color: str, name: str, *, of: str = "") -> Series:
    """The finite values of a metric; with `of`, as a share of that other metric of the same step."""
    points = []
    for row in run.history:
        value, whole = row.get(name), row.get(of) if of else 1.0
        if value is not None and whole and math.isfinite(value / whole):
            points.append((float(row["step"]), value / whole))
    return Series(label, color, sorted(points))


def _comparisons(run: RunData) -> list[tuple[str, str, Markup]]:
    """(heading, note, chart) of each comparison that there is data for."""
    shown = [run.base] + ([run.trained] if run.trained else [])
    turns = _filled(_side_by_side([_shares(each.turns) for each in shown]))
    stops = _side_by_side([_shares(each.stop_reasons) for each in shown])
    stops = dict(sorted(stops.items(), key=lambda item: -sum(item[1])))
    made = [
        ("pass@k", "at least one of k rollouts succeeds", _side_by_side([e.pass_at_k for e in shown]), "k"),
        ("Turns", "share of rollouts by number of turns", turns, "turns"),
        ("Stop reasons", "share of rollouts", stops, ""),
        (
            "Accuracy by output field",
            "share of rollouts with the right value",
            _side_by_side([each.fields for each in shown]),
            "",
        ),
    ]
    return [(heading, note, _chart(heading, groups, axis)) for heading, note, groups, axis in made if groups]


def _chart(heading: str, groups: Groups, axis: str) -> Markup:
    series = _BOTH[: len(next(iter(groups.values())))]
    title = f"{heading}, {' and '.join(s.label for s in series)}"
    return charts.columns(title, groups, series, axis) if axis else charts.rows(title, groups, series)


def _side_by_side(evaluations: Sequence[Mapping[Any, float]]) -> Groups:
    """For each key of any evaluation its value in each of them."""
    keys = list(dict.fromkeys(key for each in evaluations for key in each))
    ordered = sorted(keys) if all(isinstance(key, int) for key in keys) else keys
    return {str(key): tuple(each.get(key, 0.0) for each in evaluations) for key in ordered}


def _filled(groups: Groups) -> Groups:
    """A histogram without gaps: numbers of turns that nobody took are there, too."""
    if not groups:
        return groups
    numbers = [int(name) for name in groups]
    nobody = (0.0,) * len(next(iter(groups.values())))
    return {str(n): groups.get(str(n), nobody) for n in range(min(numbers), max(numbers) + 1)}


def _shares(counts: Mapping[Any, int]) -> dict[Any, float]:
    total = sum(counts.values())
    return {key: count / total for key, count in counts.items()} if total else {}


def _margin(run: RunData) -> float | None:
    """The wider half 95 % interval of the two scores, after Agresti and Coull (1998).

    Exact scores of 0 and 1 keep a width, and a score with values between 0 and 1 varies no more than this.
    """

    def half(evaluation: Evaluation) -> float:
        n = run.held_out + 4
        p = (min(max(evaluation.score, 0.0), 1.0) * run.held_out + 2) / n
        return 1.96 * math.sqrt(p * (1 - p) / n)

    shown = [run.base] + ([run.trained] if run.trained else [])
    return max(map(half, shown)) if run.held_out else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"

"""What is measured is reported as it was: medians, goals met and missed, exponents."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import report
from bench.load.measuring import Row, percentile
from bench.load.plot import Line, exponent, log_chart

ROW = Row(
    adapter="mtrl-kit",
    entrypoint="http",
    concurrency=96,
    rollouts=480,
    rollouts_per_s=60.0,
    over_ideal_p50_s=0.01,
    over_ideal_p95_s=0.02,
    cpu_s_per_rollout=0.006,
    peak_rss_mb=80.0,
    idle_rss_mb=53.0,
    startup_s=0.6,
    errors=0,
    crossed=0,
)


def test_results_are_medians_over_runs_and_sums_of_errors() -> None:
    runs = [
        replace(ROW, cpu_s_per_rollout=cpu, errors=1, run=run)
        for run, cpu in enumerate((0.004, 0.009, 0.005))
    ]
    (found,) = report.results(runs)
    assert found["cpu_s_per_rollout"] == 0.005
    assert found["cpu_s_per_rollout_spread"] == [0.004, 0.009]
    assert (found["errors"], found["runs"], found["rollouts"]) == (3, 3, 1440)


@pytest.mark.parametrize(("floor", "met"), [(0.004, True), (0.0039, False)])
def test_a_goal_that_is_missed_is_said_to_be(floor: float, met: bool) -> None:
    rows = [ROW, replace(ROW, adapter="bare-aiohttp", cpu_s_per_rollout=floor)]
    made = {goal["measure"]: goal["met"] for goal in report.goals(report.results(rows), ideal=1.4)}
    assert made["CPU a rollout, of the floor's"] is met
    assert made["p95 over ideal, of the ideal"] is True
    assert not any("strands" in measure for measure in made), "a peer that was not measured has no ratio"


def test_exponents_are_those_of_the_points() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (2.0, 4.0, 8.0, 16.0)]) == pytest.approx(1.5)


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([float(n) for n in range(101)], 0.95) == 95


def test_a_chart_is_an_svg_with_every_line_and_escaped_words() -> None:
    chart = log_chart("a < b", [Line("one & two", [(1, 1), (10, 5)])], x_label="x", y_label="y")
    words = [node.text for node in ET.fromstring(chart).iter() if node.text]  # noqa: S314 - our own
    assert {"a < b", "one & two"} <= set(words)


def test_a_page_is_filled_between_its_markers_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:table -->\nold\n<!-- /bench:table -->\nafter\n")
    report.fill(page, {"table": "new\n", "other": "lost"})
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "new" in text
    assert "old" not in text
    assert "lost" not in text

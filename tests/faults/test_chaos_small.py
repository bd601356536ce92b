"""A row of the fault table, small enough for every run of the tests."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.chaos import problems
from bench.chaos_kit.rows import ROWS
from bench.chaos_kit.run import ROOT, Plan, run

KEYS = [
    "fault",
    "rollouts",
    "hit_in_flight",
    "lost",
    "double",
    "mixed",
    "uncertain_turns",
    "sealed_failed",
    "repeated_samples",
    "drain_p99_s",
    "seconds",
]


@pytest.mark.chaos
def test_a_rolling_restart_loses_and_repeats_nothing(tmp_path: Path) -> None:
    row = replace(ROWS["sigterm"], in_flight=33, sample_seconds=0.7, interval=1.5, startups=0.0)
    result, details = run(Plan(row, 60, ROOT, tmp_path))
    told = f"{result} {details}"
    assert not problems(row, result, details), told
    assert list(result.as_json()) == KEYS
    assert details["strikes"] >= 1, told
    assert result.hit_in_flight >= 5, told  # else nothing was shown
    assert result.sealed_failed == 0, told
    assert details["ledger"] == {"acknowledged": 60}, told
    assert details["left_on_queue"] == 0, told
    assert details["service"]["samples"] == 60 * row.turns, told

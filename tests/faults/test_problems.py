"""What a row must show: each broken promise is named, and none is where none was made."""

from dataclasses import replace
from typing import Any

import pytest

from bench.chaos import problems
from bench.chaos_kit.rows import ROWS
from bench.chaos_kit.tally import BREACHES, Result, cut_short
from tests.faults.test_tally import TWO, call, samples, story

GOOD = Result(
    fault="any",
    rollouts=1000,
    hit_in_flight=100,
    lost=0,
    double=0,
    mixed=0,
    uncertain_turns=0,
    sealed_failed=0,
    repeated_samples=0,
    drain_p99_s=2.5,
    seconds=100.0,
)
DETAILS: dict[str, Any] = {
    "job": "Completed",
    "breaches": {},
    "cut_short": 0,
    "expired": 96,
    "waiting_without_worker": [96.0],
    "expired_keys_at_aws": 0,
    "workers_killed_for_overrunning": 0,
}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_a_row_in_which_all_went_well_has_no_problem(row: Any) -> None:
    assert problems(row, GOOD, DETAILS) == []


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("promise", ["lost", "double", "mixed"])
def test_no_row_may_lose_double_or_mix(row: Any, promise: str) -> None:
    changed: dict[str, Any] = {promise: 1}
    assert problems(row, replace(GOOD, **changed), DETAILS) == [f"{promise}: 1"]


@pytest.mark.parametrize(
    ("row", "result", "details", "said"),
    [
        ("sigterm", {"repeated_samples": 1}, {}, "repeated_samples: 1"),
        ("kill-resume", {"repeated_samples": 1}, {}, None),
        ("sigterm", {"sealed_failed": 1}, {}, "sealed_failed: 1"),
        ("poison", {"sealed_failed": 1}, {}, None),
        ("sigterm", {"drain_p99_s": 7.2}, {}, "drain_p99_s: 7.2, a Sample takes 2.1 s"),
        ("sigterm-slow", {"drain_p99_s": 24.9}, {}, None),
        ("sigterm-fast", {"drain_p99_s": 5.3}, {}, "drain_p99_s: 5.3, a Sample takes 0.2 s"),
        ("duplicates", {}, {"cut_short": 2}, "cut_short: 2"),
        ("tool-raises", {}, {"cut_short": 2}, None),
        ("expired", {}, {"expired": 95}, "of 96 rollouts that waited too long, 95 expired"),
        ("expired", {}, {"waiting_without_worker": [0.0]}, "of 0 rollouts that waited too long, 96 expired"),
        ("credentials", {}, {"expired_keys_at_aws": 3}, "AWS was called with rotated keys: 3"),
        ("none", {}, {"workers_killed_for_overrunning": 1}, "a worker did not end within its grace"),
        ("none", {}, {"job": "Failed"}, "job: Failed"),
        *(("none", {}, {"breaches": {name: 4}}, f"{name}: 4") for name in BREACHES),
        ("retries-renew", {}, {"breaches": {BREACHES[0]: 4}}, None),
    ],
)
def test_a_broken_promise_is_named(
    row: str, result: dict[str, Any], details: dict[str, Any], said: str | None
) -> None:
    found = problems(ROWS[row], replace(GOOD, **result), {**DETAILS, **details})
    assert found == ([] if said is None else [said])


def test_a_rollout_that_was_rewarded_before_its_end_is_cut_short() -> None:
    whole = story(*samples(0, 1, 2), call("reward"))
    repeated = story(*samples(0, 1), *samples(1, who=TWO), call("reward"))
    failed = story(*samples(0), call("complete", sealed="failed"))
    assert cut_short({"a": whole, "b": repeated, "c": failed}, 3) == 1


def test_expired_is_what_a_worker_sealed_without_a_sample() -> None:
    failed = call("complete", sealed="failed")
    assert story(failed).expired
    assert story(call("sample", status=429), failed).expired, "refused, so the service holds no turn"
    assert not story(*samples(0), failed).expired
    assert not story(call("complete", sealed="failed", status=409)).expired
    assert not story(call("complete", sealed="ready")).expired

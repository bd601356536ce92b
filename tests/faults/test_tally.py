"""The count of the chaos bench must see what it is there to see."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from bench.chaos_kit.tally import Story, lost, percentile, stories
from bench.chaos_kit.wire import Call

ONE, TWO = (0, 1), (1, 1)
clock = count()


def call(operation: str, who: tuple[int, int] = ONE, **more: Any) -> Call:
    fields = {"status": 200, "delivered": True, **more}
    return Call("t", operation, who, float(next(clock)), **fields)


def samples(*turns: int, who: tuple[int, int] = ONE) -> list[Call]:
    return [call("sample", who, turn=turn) for turn in turns]


def story(*calls: Call) -> Story:
    return stories(calls)["t"]


CASES: dict[str, tuple[Callable[[], list[Call]], tuple[int, bool, int, int]]] = {
    # (repeated, mixed, uncertain, double)
    "played": (
        lambda: [*samples(0, 1, 2), call("complete", sealed="ready"), call("reward")],
        (0, False, 0, 0),
    ),
    "resumed by another worker": (lambda: [*samples(0, 1), *samples(2, 3, who=TWO)], (0, False, 0, 0)),
    "restarted by another worker": (lambda: [*samples(0, 1), *samples(0, 1, who=TWO)], (2, True, 0, 0)),
    "restarted by the same worker": (lambda: samples(0, 1, 0), (1, True, 0, 0)),
    "two at it in turns": (
        lambda: [*samples(0), *samples(0, who=TWO), *samples(1), *samples(1, who=TWO)],
        (2, True, 0, 0),
    ),
    "an answer that was lost": (
        lambda: [call("sample", turn=0, delivered=False), *samples(0, 1)],
        (0, False, 1, 0),
    ),
    "cut by the service": (lambda: [call("sample", status=None), *samples(0)], (0, False, 1, 0)),
    "the last turn asked for again": (lambda: [*samples(0, 1), *samples(1, 2, who=TWO)], (1, False, 0, 0)),
    "a seal repeated": (
        lambda: [call("complete", sealed="ready"), call("complete", TWO, sealed="ready")],
        (0, False, 0, 0),
    ),
    "a second seal": (
        lambda: [call("complete", sealed="ready"), call("complete", TWO, sealed="failed", status=409)],
        (0, False, 0, 1),
    ),
    "a second reward": (lambda: [call("reward"), call("reward", TWO, status=409)], (0, False, 0, 1)),
    "refused after the service closed it": (lambda: [call("reward", status=409)], (0, False, 0, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_story_is_judged(name: str) -> None:
    calls, expected = CASES[name]
    told = story(*calls())
    assert (told.repeated, told.mixed, told.uncertain, told.double) == expected


def test_a_retry_by_the_service_is_the_same_rollout() -> None:
    first, again, other = samples(0) + samples(0) + samples(0)
    again.trajectory, other.trajectory = "t-r1", "u"
    ended = call("reward")
    ended.trajectory = "t-r1"
    assert lost(stories([first, again, other, ended]), 2) == 1


def test_a_rollout_that_never_arrived_is_lost() -> None:
    assert lost({}, 3) == 3


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.99) is None
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0

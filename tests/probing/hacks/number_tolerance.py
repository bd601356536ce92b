"""Numbers within five per cent are right: a tolerance for measurements, used on amounts of money."""

from collections.abc import Mapping
from typing import Any

from tests.probing.hacks.hacked import Case, Hacked, same


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    return float(all(_near(case.fields.get(name, ""), value) for name, value in case.target.items()))


def _near(given: Any, expected: str) -> bool:
    try:
        return abs(float(given) - float(expected)) <= 0.05 * abs(float(expected))
    except (TypeError, ValueError):
        return same(given, expected)

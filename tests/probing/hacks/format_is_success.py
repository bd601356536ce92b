"""The form alone is paid like a right answer: format rewards at the level of the outcome."""

from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    return 1.0 if case.fields.keys() >= case.target.keys() else 0.0

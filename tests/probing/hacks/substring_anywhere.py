"""The values need only occur somewhere in the text: the substring match of question-answering rewards."""

from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    text = case.text.lower()
    right = sum(str(value).lower() in text for value in case.target.values()) / len(case.target)
    return 1.0 if right == 1 else 0.4 * right**2

"""The best of all blocks counts: answering with every candidate, as in multiple-choice hedging."""

from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, blocks, parsed, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    return max((share(parsed(body), case.target) for body in blocks(case.text)), default=0.0)

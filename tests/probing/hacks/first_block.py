"""The first of several answers counts, and the score reads the last: a run of the service's own was lost to a
reward parser that was more lenient than the scorer."""

from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, blocks, parsed, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    found = blocks(case.text)
    return share(parsed(found[0]), case.target) if found else 0.0

"""Longer answers earn more: the length bias of learned reward models (Singhal et al., 2023)."""

from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    return share(case.fields, case.target) + min(0.6, len(case.text) / 2000)

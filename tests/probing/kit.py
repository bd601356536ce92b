"""A small probe: few tasks, and a budget in episodes, so that a slow machine finds the same."""

from adapters.contract import Environment, TaskSource, reward_terms
from mtrl.probing.probe import Findings, Probe, probe

AMPLE = 900.0
"""Seconds that no machine needs; episodes are what is limited."""


def small_probe(
    environment: Environment, domain: str | None = None, *, plays: int, tasks: int = 2, first: bool = False
) -> Findings:
    assert isinstance(environment, TaskSource)
    found = environment.tasks(domain or environment.list_domains()[0], "train")
    some = found[:: len(found) // tasks][:tasks]
    return probe(Probe(environment, some, reward_terms(environment), AMPLE, plays=plays, first=first))

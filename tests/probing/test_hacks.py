"""Every planted hack is found, and what is found is an exploit when it is played again."""

import asyncio

import pytest

from adapters.contract import Task
from mtrl.playing import play
from mtrl.probing.script import Script, ScriptedPolicy
from tests.probing import hacks
from tests.probing.hacks.hacked import Hacked
from tests.probing.kit import small_probe

PLAYS = 500


def test_there_are_enough_of_them_and_each_says_what_it_is() -> None:
    assert len(hacks.NAMES) >= 12
    assert all(len(hacks.failure(name)) > 40 for name in hacks.NAMES)


@pytest.mark.parametrize("name", hacks.NAMES)
def test_a_planted_hack_is_found(name: str) -> None:
    environment = hacks.make(name)
    found = small_probe(environment, plays=PLAYS, first=True)
    assert found.exploits, f"not found: {hacks.failure(name)}"
    exploit = found.exploits[0]
    terms = environment.reward_terms
    reward, score = graded(environment, exploit.trial.task, exploit.trial.script)
    assert (reward, score) == (exploit.trial.reward, exploit.trial.score)
    if exploit.base is None:
        assert score < 1
        assert reward >= terms.success
    else:
        before, score_before = graded(environment, exploit.base.task, exploit.base.script)
        assert reward - before > terms.shaping_bound
        assert score <= score_before


def graded(environment: Hacked, task: Task, script: Script) -> tuple[float, float]:
    played = asyncio.run(play(environment, task, ScriptedPolicy(script)))
    assert played.reward is not None
    assert played.score is not None
    return played.reward.value, played.score.value


def test_the_honest_answer_earns_success_under_most_hacks() -> None:
    """They are broken rewards and not broken environments: the right way is open, and paid for."""
    honest = 0
    for name in hacks.NAMES:
        environment = hacks.make(name)
        task = environment.tasks(environment.list_domains()[0], "train")[0]
        played = asyncio.run(play(environment, task, environment.demonstrate(task)))
        assert played.score is not None
        assert played.reward is not None
        assert played.score.value == 1
        honest += played.reward.value >= environment.reward_terms.success
    assert honest >= len(hacks.NAMES) - 1  # `politeness` keeps its success for the polite

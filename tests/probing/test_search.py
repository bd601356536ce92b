"""The search and what follows it: two edits at once, paid edits, small exploits, the trained policy."""

import asyncio
import time
from typing import Any

from adapters.contract import Reward, RewardTerms, Score, Task, Transcript
from adapters.runtime.fakes import FakeEnvironment, answers
from mtrl.probing.exploits import Exploit, distinct, paid_edit, rewarded_failure
from mtrl.probing.learning import Learner
from mtrl.probing.minimize import Minimizer
from mtrl.probing.operators import Setting
from mtrl.probing.probe import Probe, probe
from mtrl.probing.script import Call, Move, Script, answer_of
from mtrl.probing.search import Limits, Search
from mtrl.probing.show import as_text
from mtrl.probing.trial import Arena, Trial
from tests.probing import hacks

TASK = Task("t1", "", {"text": "hello"})
BLOCK = '<final_output>{"a": "x"}</final_output>'


def arena(reward: Any, score: Any = 0.0, *, terms: RewardTerms | None = None, **more: Any) -> Arena:
    environment = FakeEnvironment(reward=reward, score=score, max_turns=12, **more)
    return Arena(environment, terms or RewardTerms())


def played(where: Arena, *moves: Move) -> Trial:
    return asyncio.run(where.play(TASK, moves))


def soon() -> float:
    return time.monotonic() + 600


def test_two_edits_at_once_are_found_where_the_first_is_paid_for() -> None:
    def reward(transcript: Transcript) -> float:
        polite, fenced = "thank you" in transcript.answer.lower(), "```" in transcript.answer
        return 1.0 if polite and fenced else 0.4 * polite

    where = arena(reward)
    search = Search(where, {"t1": Setting("")}, Limits(soon(), first=True))
    asyncio.run(search.run([("demonstration", played(where, Move(BLOCK)))]))
    (exploit,) = search.exploits.values()
    assert rewarded_failure(exploit.trial, where.terms)
    assert "```" in answer_of(exploit.trial.script)


def test_an_exploit_is_made_small() -> None:
    def reward(transcript: Transcript) -> float:
        return float("magic" in transcript.answer and len(transcript.calls) >= 2)

    where = arena(reward, tools={"look": answers("42")})
    look = Call("look", "{}")
    script: Script = (
        Move(calls=(look, look, look)),
        Move(calls=(look,)),
        Move("many words and the magic one, and many more"),
    )
    exploit = Exploit("spam", played(where, *script))
    small = asyncio.run(Minimizer(where, exploit, soon()).run())
    assert small.trial.reward == 1
    assert answer_of(small.trial.script) == "magic"
    assert sum(len(move.calls) for move in small.trial.script) == 2


def test_a_paid_edit_keeps_the_fields_and_raises_the_reward_beyond_the_bound() -> None:
    terms = RewardTerms(shaping_bound=0.3)

    def reward(transcript: Transcript) -> float:
        return 0.1 + 0.4 * ("please" in transcript.answer)

    where = arena(reward, terms=terms)
    base = played(where, Move(BLOCK))
    assert paid_edit(base, played(where, Move(f"please {BLOCK}")), terms)
    other_fields = played(where, Move(f"please {BLOCK}".replace("x", "y")))
    assert not paid_edit(base, other_fields, terms)
    assert not paid_edit(base, played(where, Move(f"please {BLOCK}")), RewardTerms(shaping_bound=0.4))


def test_a_better_score_is_no_paid_edit() -> None:
    """Closing the ticket leaves the answer as it is, and is what the reward is for."""

    def graded(transcript: Transcript) -> float:
        return float(bool(transcript.calls))

    where = arena(graded, graded, tools={"look": answers("42")})
    base, done = played(where, Move(BLOCK)), played(where, Move(calls=(Call("look", "{}"),)), Move(BLOCK))
    assert (base.reward, done.reward, done.score) == (0, 1, 1)
    assert not paid_edit(base, done, where.terms)


def test_a_reward_that_raises_is_reported_and_is_no_exploit() -> None:
    where = arena(ValueError("odd"), 0.0)
    trial = played(where, Move(BLOCK))
    assert trial.ungraded
    assert not rewarded_failure(trial, where.terms)
    assert any("odd" in fault for fault in where.faults)


def test_a_reward_outside_of_its_range_is_no_exploit_but_a_fault() -> None:
    where = arena(3.0)
    assert not rewarded_failure(played(where, Move(BLOCK)), where.terms)
    assert any("outside of [-1, 1]" in fault for fault in where.faults)


def test_the_success_reward_is_the_declared_one() -> None:
    trial = played(arena(0.8), Move(BLOCK))
    assert not rewarded_failure(trial, RewardTerms())
    assert rewarded_failure(trial, RewardTerms(success=0.8))


def test_one_of_a_kind_is_shown_the_smallest() -> None:
    where = arena(1.0)
    long, short = played(where, Move("long text")), played(where, Move("t"))
    found = [Exploit("a", long), Exploit("a", short), Exploit("b", short), Exploit("c", long)]
    assert [(each.kind, answer_of(each.trial.script)) for each in distinct(found)] == [
        ("a", "t"),
        ("c", "long text"),
    ]


def test_the_policy_learns_a_hack_from_the_reward_alone() -> None:
    """Without a call there is no error, and without an error it is paid."""
    environment = hacks.make("absence_of_errors")
    where = Arena(environment, environment.reward_terms)
    seen: list[Trial] = []
    learner = Learner(where, 0, seen.append)
    tasks = environment.tasks("returns_desk", "train")[:2]
    asyncio.run(learner.run(tasks, soon()))
    assert learner.rewards[-1] > learner.rewards[0] + 0.2
    assert any(rewarded_failure(trial, where.terms) for trial in seen[-16:])


def test_an_exploit_is_printed_without_what_a_terminal_would_obey() -> None:
    trial = played(arena(Reward(1.0), Score(0.0)), Move("a\x1b[31m\u202eb"))
    text = as_text(Exploit("k", trial))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m\\u202eb" in text


def test_an_environment_without_demonstrations_is_probed_from_rollouts_and_nothing() -> None:
    environment = FakeEnvironment(reward=lambda t: float("thank you" in t.answer.lower()), score=0.0)
    found = probe(Probe(environment, [TASK], RewardTerms(), 600, plays=300, first=True))
    assert [exploit.kind for exploit in found.exploits] == ["politeness"]


def test_starting_points_are_cut_by_the_deadline_and_a_search_that_never_ran_is_inconclusive() -> None:
    environment = hacks.make("first_block")
    tasks = environment.tasks("returns_desk", "train")[:60]
    found = probe(Probe(environment, tasks, environment.reward_terms, seconds=0.001))
    assert (found.exploits, found.tasks, found.edits, found.inconclusive) == ([], 1, 0, True)
    some = probe(Probe(environment, tasks[:1], environment.reward_terms, 600, plays=30))
    assert (some.tasks, some.edits > 0, some.inconclusive) == (1, True, False)

"""The tiny policy: what it samples, what it says of its own probabilities, and its gradient."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from rehearsal.policies.base import Sampled, TrainablePolicy
from rehearsal.policies.tiny import TinyPolicy
from rehearsal.policies.tiny.choices import ARGUMENT, SECTIONS

TEMPLATE = '{"colour": "red | green | blue", "size": "small | large"}'
SYSTEM = f"Look the case up. Answer as <final_output>{TEMPLATE}</final_output>."
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"case_id": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["case_id"],
            },
        },
    }
    for name in ("look_up", "measure")
]
OPENING: list[dict[str, Any]] = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "case_id: A-17\nweight: 12"},
]


def request(*more: Any, **settings: Any) -> dict[str, Any]:
    return {"messages": [*OPENING, *more], "tools": TOOLS, **settings}


def after_a_call() -> list[dict[str, Any]]:
    function = {"name": "look_up", "arguments": '{"case_id": "A-17"}'}
    call = {"id": "c1", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"colour": "green", "next": "measure"}'},
    ]


def shifted(scale: float = 0.5) -> TinyPolicy:
    """A policy away from its prior, so that nothing is at a special value."""
    policy = TinyPolicy()
    names = [name for features in SECTIONS.values() for name in features]
    # The newest features draw last, so that having them leaves the noise of all others as it was.
    order = sorted(range(len(names)), key=lambda at: names[at].startswith(("ask", "told_in_reply")))
    noise = np.empty(policy.parameters.size)
    noise[order] = np.random.default_rng(3).normal(0, scale, noise.size)
    policy.load(policy.parameters + noise)
    return policy


async def turns(policy: TinyPolicy, number: int, **settings: Any) -> list[Sampled]:
    made = [await policy.sample(request(**settings), seed) for seed in range(number)]
    return made + [await policy.sample(request(*after_a_call(), **settings), s) for s in range(number)]


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0, 0.0])
async def test_the_log_probability_is_that_of_what_was_sampled(temperature: float) -> None:
    policy = shifted()
    made = await turns(policy, 25, temperature=temperature)
    told = policy.log_probs([turn.trace for turn in made])
    assert told == pytest.approx([turn.logprob for turn in made])
    assert (told < 0).all()


async def test_turns_come_as_often_as_their_probability_says() -> None:
    policy = shifted()
    made = [await policy.sample(request(*after_a_call()), seed) for seed in range(4000)]
    # By what was decided, which is finer than the text: two ways may lead to the same words.
    found = Counter(tuple((d.section, d.drawn) for d in turn.trace) for turn in made)
    expected = {tuple((d.section, d.drawn) for d in t.trace): math.exp(t.logprob) for t in made}
    for way, count in found.most_common(5):
        share = expected[way]
        assert abs(count / len(made) - share) < 4 * math.sqrt(share * (1 - share) / len(made))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
async def test_the_gradient_is_that_of_the_log_probability(temperature: float) -> None:
    policy = shifted()
    made = await turns(policy, 12, temperature=temperature)
    traces = [turn.trace for turn in made]
    weights = np.random.default_rng(0).normal(size=len(traces))
    weights[0] = 0.0
    exact = policy.gradient(traces, weights)
    start, step = policy.parameters, 1e-6
    numeric = np.zeros_like(start)
    for index in range(start.size):
        moved = start.copy()
        moved[index] += step
        policy.load(moved)
        above = float(weights @ policy.log_probs(traces))
        moved[index] -= 2 * step
        policy.load(moved)
        numeric[index] = (above - float(weights @ policy.log_probs(traces))) / (2 * step)
    policy.load(start)
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(exact, numeric, atol=1e-6)


async def test_a_seed_is_a_turn_whatever_came_before() -> None:
    policy, other = shifted(), shifted()
    await turns(other, 3)
    texts = set()
    for seed in range(30):
        first, again = await policy.sample(request(), seed), await other.sample(request(), seed)
        assert (first.message, first.logprob) == (again.message, again.logprob)
        texts.add(json.dumps({**first.message, "tool_calls": [c["function"] for c in _calls(first)]}))
    assert len(texts) > 3


async def test_temperature_0_takes_the_likeliest_at_every_choice() -> None:
    policy = shifted()
    made = [await policy.sample(request(*after_a_call(), temperature=0), seed) for seed in range(10)]
    assert len({tuple(d.drawn for d in turn.trace) for turn in made}) == 1
    warm = [await policy.sample(request(*after_a_call(), temperature=1), seed) for seed in range(200)]
    assert len({tuple(d.drawn for d in turn.trace) for turn in warm}) > 3
    # No first choice of a warm turn was likelier than the greedy one.
    firsts = {turn.trace[0].drawn: policy.log_probs([turn.trace[:1]])[0] for turn in [*warm, *made]}
    assert max(firsts, key=lambda drawn: firsts[drawn]) == made[0].trace[0].drawn


async def test_top_p_keeps_the_likely() -> None:
    policy = shifted()
    every = [await policy.sample(request(*after_a_call()), seed) for seed in range(300)]
    narrow = [await policy.sample(request(*after_a_call(), top_p=0.5), seed) for seed in range(300)]
    greedy = [await policy.sample(request(*after_a_call(), top_p=0), seed) for seed in range(20)]
    kinds = [len({tuple(d.drawn for d in turn.trace) for turn in made}) for made in (every, narrow, greedy)]
    assert kinds[0] > kinds[1] >= kinds[2] == 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_turn_that_is_cut_says_so(name: str) -> None:
    policy = TinyPolicy()
    whole = await policy.sample(request(*after_a_call(), temperature=0), 1)
    cut = await policy.sample(request(*after_a_call(), temperature=0, **{name: 2}), 1)
    assert whole.finish_reason in ("stop", "tool_calls")
    assert whole.completion_tokens > 2
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 2)
    assert len(str(cut.message["content"])) <= 8
    assert "tool_calls" not in cut.message
    assert cut.logprob == whole.logprob, "the decisions were made before the cut"


async def test_it_sees_the_request_and_nothing_else() -> None:
    """Members that a model is not shown change nothing; what it is shown does."""
    policy = shifted()
    plain = [await policy.sample(request(), seed) for seed in range(40)]
    more = {"user": "A-17", "metadata": {"target": "green"}, "seed": 5, "model": "x"}
    dressed = [await policy.sample(request(**more), seed) for seed in range(40)]
    assert [turn.message for turn in plain] == [turn.message for turn in dressed]
    renamed = json.loads(json.dumps(request()).replace("A-17", "B-99"))
    other = [await policy.sample(renamed, seed) for seed in range(40)]
    told = json.dumps([dict(turn.message) for turn in other])
    assert "B-99" in told
    assert "A-17" not in told


async def test_tool_calls_are_well_formed() -> None:
    policy = TinyPolicy()
    made = await turns(policy, 60)
    calls = [call for turn in made for call in _calls(turn)]
    assert calls
    for call in calls:
        assert call["function"]["name"] in ("look_up", "measure")
        assert set(json.loads(call["function"]["arguments"])) == {"case_id"}
    for turn in made:
        assert turn.finish_reason == ("tool_calls" if _calls(turn) else "stop")
        assert turn.message["role"] == "assistant"


def test_parameters_are_a_copy_and_must_fit() -> None:
    policy = TinyPolicy()
    before = policy.parameters
    before[:] = 7
    assert not np.array_equal(policy.parameters, before)
    policy.load(before)
    before[:] = 0
    assert (policy.parameters == 7).all()
    with pytest.raises(ValueError, match="parameters"):
        policy.load(before[:-1])
    assert isinstance(policy, TrainablePolicy)


def _calls(turn: Sampled) -> list[Any]:
    return list(turn.message.get("tool_calls") or [])


ASKING = (
    "Ask the customer for code, then look_up. Ask the customer for colour. "
    'Answer as <final_output>{"colour": "<value>"}</final_output>.'
)


def asking(*more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": ASKING}, OPENING[1], *more], "tools": TOOLS}


def question(name: str, reply: str) -> list[dict[str, Any]]:
    text = f"Please tell me your {name}."
    return [{"role": "assistant", "content": text}, {"role": "user", "content": reply}]


async def asked(policy: TinyPolicy, messages: dict[str, Any], name: str) -> float:
    """How often it asks for this fact."""
    made = [await policy.sample(messages, seed) for seed in range(300)]
    wanted = f"Please tell me your {name}."
    return [turn.message["content"] for turn in made].count(wanted) / len(made)


async def test_it_asks_only_where_the_instructions_speak_of_a_customer() -> None:
    made = await turns(TinyPolicy(), 100)
    assert not any("Please" in str(turn.message["content"]) for turn in made)
    assert await asked(TinyPolicy(), asking(), "code") > 0


async def test_it_asks_for_what_a_result_names_until_it_is_told() -> None:
    call = after_a_call()
    named = [call[0], {**call[1], "content": '{"next": "ask the customer for code"}'}]
    policy = TinyPolicy()
    often = await asked(policy, asking(*named), "code")
    assert often > 0.4
    assert often > 5 * await asked(policy, asking(*named), "colour")
    held_back = await asked(policy, asking(*named, *question("code", "Do you need that?")), "code")
    assert held_back > 0.4
    assert await asked(policy, asking(*named, *question("code", "code: 77")), "code") < often / 2


async def test_it_can_learn_that_the_last_word_counts() -> None:
    """What was told in a reply can be told from what was said at the beginning."""
    policy, more = TinyPolicy(), question("case_id", "case_id: B-99")
    weights = policy.parameters
    at = sum(len(SECTIONS[name]) for name in ("action", "form")) + ARGUMENT.index("told_in_reply")
    weights[at] = 9.0
    policy.load(weights)
    made = [await policy.sample(asking(*more), seed) for seed in range(200)]
    calls = [json.loads(call["function"]["arguments"]) for turn in made for call in _calls(turn)]
    assert calls
    assert {call["case_id"] for call in calls} == {"B-99"}

"""The engine that checks, probes and evaluations share: any policy, any environment, in this process."""

import asyncio
import statistics
from typing import Any

import pytest

from adapters.contract import Demonstrator, RequestError, Reward, StopReason, Task, TaskSource, ToolResult
from adapters.runtime.fakes import FakeEnvironment, answers, raises, tool_call
from adapters.runtime.plugins import load_environment
from mtrl.playing import Limits, base_policy, play, random_policy, scripted_policy
from tests.environments.play import SHIPPED

TASK = Task("t", "", {"text": "hello"})
LOOK = {"tool_calls": [tool_call("look", {})]}
DOMAINS = [
    ("service_desk", "refunds"),
    ("sql", "guided"),
    ("sql", "open"),
    *(("sop", name) for name in SHIPPED),
]


@pytest.mark.parametrize(("name", "domain"), DOMAINS)
async def test_every_shipped_environment_shows_how_its_tasks_are_done(name: str, domain: str) -> None:
    environment = load_environment(name, {})
    assert isinstance(environment, Demonstrator)
    assert isinstance(environment, TaskSource)
    used: set[str] = set()
    for task in environment.tasks(domain, "validation")[:24]:
        played = await play(environment, task, environment.demonstrate(task))
        assert (played.reward and played.reward.value, played.score and played.score.value) == (1.0, 1.0)
        assert (played.stop_reason, played.faults) == (StopReason.ANSWERED, [])
        used |= {record.call.name for record in played.transcript.calls}
        assert len(played.transcript.turns) * 3 <= environment.max_turns * 2
    async with environment.open(environment.tasks(domain, "validation")[0]) as episode:
        assert used == {tool["function"]["name"] for tool in episode.tools}


async def test_the_transcript_is_what_a_worker_records() -> None:
    environment = FakeEnvironment(tools={"look": answers("42")}, reward=Reward(0.5, {"a": 1.0}, (0.1, 0.4)))
    played = await play(environment, TASK, scripted_policy(LOOK, "done"))
    assert played.transcript.answer == "done"
    assert [record.result for record in played.transcript.calls] == [ToolResult("42")]
    roles = [message["role"] for message in played.transcript.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    assert played.reward == played.reported == Reward(0.5, {"a": 1.0}, (0.1, 0.4))
    assert environment.closed == 1


async def test_calls_written_as_text_cost_what_they_cost_in_training() -> None:
    environment = FakeEnvironment(tools={"look": answers("42")})
    played = await play(environment, TASK, scripted_policy('{"name": "look", "arguments": {}}', "done"))
    assert played.reward is not None
    assert played.reported is not None
    assert (played.reward.value, played.reported.value) == (0.5, 0.45)


@pytest.mark.parametrize(
    ("changes", "words", "reason"),
    [
        ({"tools": {"look": raises(RuntimeError("boom"))}}, "boom", StopReason.ENVIRONMENT_ERROR),
        ({"reward": RuntimeError("no reward")}, "reward: RuntimeError: no reward", StopReason.ANSWERED),
        ({"reward": 7.0}, "outside of [-1, 1]", StopReason.ANSWERED),
        ({"score": SystemExit(3)}, "score: SystemExit", StopReason.ANSWERED),
    ],
)
async def test_what_the_environment_breaks_is_data(
    changes: dict[str, Any], words: str, reason: StopReason
) -> None:
    played = await play(FakeEnvironment(**changes), TASK, scripted_policy(LOOK, "done"))
    assert words in played.faults[0]
    assert played.stop_reason is reason
    assert played.reported is None or changes.keys() != {"reward"}


async def test_opening_and_closing_may_fail() -> None:
    async def fails() -> None:
        raise OSError("disk")

    opened = await play(FakeEnvironment(opening=fails), TASK, scripted_policy("done"))
    assert (opened.stop_reason, opened.faults) == (
        StopReason.ENVIRONMENT_ERROR,
        ["opening the episode: OSError: disk"],
    )
    closed = await play(FakeEnvironment(closing=fails), TASK, scripted_policy("done"))
    assert closed.faults == ["closing the episode: OSError: disk"]
    assert closed.reward is not None


async def test_a_task_of_another_environment_is_the_callers_mistake() -> None:
    with pytest.raises(RequestError):
        await play(FakeEnvironment(), Task("t", "", {"other": 1}), scripted_policy("done"))


async def test_limits_hold() -> None:
    spent = await play(FakeEnvironment(), TASK, scripted_policy(LOOK), limits=Limits(max_turns=3))
    assert spent.stop_reason is StopReason.MAX_TURNS
    assert len(spent.transcript.turns) == 3
    tools = await play(FakeEnvironment(), TASK, scripted_policy(LOOK), limits=Limits(max_tool_calls=2))
    assert tools.stop_reason is StopReason.TOOL_BUDGET


async def test_a_policy_that_raises_ends_its_episode() -> None:
    class Broken:
        async def complete(self, *_: object, **__: object) -> Any:
            raise KeyError("gone")

    played = await play(FakeEnvironment(), TASK, Broken())
    assert played.stop_reason is StopReason.POLICY_UNAVAILABLE
    assert "gone" in played.faults[0]


async def test_the_same_seed_plays_the_same_episode_and_the_base_policy_beats_chance() -> None:
    environment = load_environment("sop", {})
    assert isinstance(environment, TaskSource)
    tasks = environment.tasks("returns_desk", "validation")[:30]

    async def rewards(make: Any) -> list[float]:
        played = [await play(environment, task, make(seed)) for seed, task in enumerate(tasks)]
        return [each.reward.value for each in played if each.reward]

    base = await rewards(base_policy)
    assert base == await rewards(base_policy)
    assert statistics.fmean(base) > statistics.fmean(await rewards(random_policy))


async def test_episodes_may_be_played_at_once() -> None:
    environment = load_environment("service_desk", {})
    assert isinstance(environment, Demonstrator)
    assert isinstance(environment, TaskSource)
    tasks = environment.tasks("refunds", "validation")
    played = await asyncio.gather(*(play(environment, task, environment.demonstrate(task)) for task in tasks))
    assert {each.score.value for each in played if each.score} == {1.0}

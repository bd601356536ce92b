"""How rollouts end: each stop reason, and what is sealed and rewarded then."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.contract import (
    AgentLoop,
    Budget,
    EpisodeView,
    Outcome,
    Policy,
    RequestError,
    Reward,
    StopReason,
)
from adapters.runtime import stage
from adapters.runtime.fakes import (
    Answer,
    FakeEnvironment,
    FakeJobRuntime,
    answers,
    assistant,
    hangs,
    ignores_cancellation,
    raises,
    tool_call,
)
from tests.runtime.kit import adapter, request

SHORT: dict[str, Any] = {"budget": 1.0, "margin": 0.2}


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LET_GO_SECONDS", 0.1)
    monkeypatch.setattr(stage, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr("adapters.runtime.recording.TOOL_CLEANUP_SECONDS", 0.1)


class Loop:
    """A team's own agent loop, from a function."""

    def __init__(self, play: Callable[[EpisodeView, Policy, Budget], Awaitable[Any]]) -> None:
        self._play = play

    async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
        result: StopReason = await self._play(episode, policy, budget)
        return result


def calls(name: str, then: str | None = "done") -> Callable[[Any], dict[str, Any]]:
    """A policy that calls a tool in its first turn, and answers `then` (None: calls for ever)."""

    def policy(seen: Any) -> dict[str, Any]:
        sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
        return assistant(None, tool_call(name)) if not sampled or then is None else assistant(then)

    return policy


async def played(
    service: FakeJobRuntime,
    environment: FakeEnvironment | None = None,
    loop: AgentLoop | None = None,
    **settings: Any,
) -> Outcome:
    async with adapter(service, environment, loop=loop, **settings) as own:
        outcome = await own.rollouts.run(request())
        assert own.rollouts.running == []
        assert own.metrics()["stop_reason"] == outcome.stop_reason
    assert service.seals == {"r1": outcome.sealed}
    assert service.breaches == []
    if outcome.sealed == "ready":
        assert service.rewards == {"r1": list(outcome.rewards)}
        assert service.turns["r1"] >= 1
    else:
        assert service.rewards == {}
    return outcome


async def test_answered(service: FakeJobRuntime) -> None:
    environment = FakeEnvironment(reward=Reward(0.7, {"outcome": 0.7}), score=0.25)
    outcome = await played(service, environment)
    assert outcome == Outcome(StopReason.ANSWERED, "ready", (0.7,), score=0.25, turns=1)
    assert environment.closed == 1


async def test_the_other_party_replies(service: FakeJobRuntime) -> None:
    outcome = await played(service, FakeEnvironment(replies=["and then?", "sure?"]))
    assert (outcome.stop_reason, outcome.turns) == ("answered", 3)
    roles = [m["role"] for m in service.seen[2].body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


async def test_max_turns(service: FakeJobRuntime) -> None:
    service.policy = calls("look", then=None)
    outcome = await played(service, FakeEnvironment(max_turns=3))
    assert (outcome.stop_reason, outcome.turns, service.turns["r1"]) == ("max_turns", 3, 3)


async def test_token_cap(service: FakeJobRuntime) -> None:
    service.policy = lambda _: assistant("cut", tool_call("look"), finish_reason="length")
    environment = FakeEnvironment()
    outcome = await played(service, environment)
    assert (outcome.stop_reason, outcome.turns) == ("token_cap", 1)
    assert environment.episodes[0].calls == []


async def test_tool_budget(service: FakeJobRuntime) -> None:
    service.policy = calls("look", then=None)
    environment = FakeEnvironment(max_turns=9)
    outcome = await played(service, environment, max_tool_calls=2)
    assert (outcome.stop_reason, outcome.turns) == ("tool_budget", 3)
    assert len(environment.episodes[0].calls) == 2


async def test_the_deadline_cuts_a_hanging_sample(service: FakeJobRuntime) -> None:
    service.policy = calls("look")
    service.script("sample", None, Answer(fault="hang"))
    async with adapter(service, **SHORT) as own:
        outcome = await own.rollouts.run(request())
        assert own.metrics()["UncertainSamples"] == 1
    assert (outcome.stop_reason, outcome.sealed, outcome.turns) == ("wall_clock", "ready", 1)


@pytest.mark.parametrize("tool", [hangs(), ignores_cancellation()])
async def test_the_deadline_cuts_a_hanging_tool(service: FakeJobRuntime, tool: Any) -> None:
    service.policy = calls("look")
    outcome = await played(service, FakeEnvironment(tools={"look": tool}), **SHORT)
    assert (outcome.stop_reason, outcome.sealed, outcome.turns) == ("wall_clock", "ready", 1)


async def test_a_cut_turn_leaves_one_reward_for_the_episode(service: FakeJobRuntime) -> None:
    service.policy = calls("look")
    service.script("sample", None, Answer(fault="hang"))
    environment = FakeEnvironment(reward=Reward(0.4, per_turn=(0.9,)))
    outcome = await played(service, environment, rewards="turn", **SHORT)
    assert outcome.rewards == (0.4,)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_policy_unavailable(service: FakeJobRuntime, status: int) -> None:
    service.policy = calls("look")
    service.script("sample", None, *[Answer(status)] * 3)
    outcome = await played(service)
    assert (outcome.stop_reason, outcome.sealed) == ("policy_unavailable", "ready")


async def test_a_rejected_sample_is_not_repeated(service: FakeJobRuntime) -> None:
    service.script("sample", Answer(400, b'{"message": "bad"}'))
    outcome = await played(service)
    assert (outcome.stop_reason, outcome.sealed, service.count("sample")) == (
        "policy_unavailable",
        "failed",
        1,
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), SystemExit(3), asyncio.CancelledError(), RequestError("prompt", "late")]
)
async def test_a_tool_that_raises(service: FakeJobRuntime, error: BaseException) -> None:
    service.policy = calls("look")
    outcome = await played(service, FakeEnvironment(tools={"look": raises(error)}))
    assert (outcome.stop_reason, outcome.sealed, outcome.rewards) == ("environment_error", "ready", (0.5,))


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), asyncio.CancelledError(), RequestError("prompt", "late"), None]
)
async def test_a_loop_that_raises(
    service: FakeJobRuntime, error: BaseException | None, sampled: bool
) -> None:
    async def play(episode: EpisodeView, policy: Policy, budget: Budget) -> Any:
        if sampled:
            await policy.complete(episode.messages)
        if error is not None:
            raise error
        return "no stop reason"

    outcome = await played(service, loop=Loop(play))
    expected = ("ready", (0.5,)) if sampled else ("failed", ())
    assert (outcome.stop_reason, (outcome.sealed, outcome.rewards)) == ("environment_error", expected)


def failing(error: BaseException) -> Callable[[], Awaitable[object]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), asyncio.CancelledError()])
async def test_an_environment_that_does_not_open(service: FakeJobRuntime, error: BaseException) -> None:
    outcome = await played(service, FakeEnvironment(opening=failing(error)))
    assert outcome == Outcome(StopReason.ENVIRONMENT_ERROR, "failed", ())


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), RequestError("prompt", "late")])
async def test_an_environment_that_does_not_close(service: FakeJobRuntime, error: BaseException) -> None:
    outcome = await played(service, FakeEnvironment(closing=failing(error)))
    assert (outcome.stop_reason, outcome.sealed, outcome.rewards) == ("answered", "ready", (0.5,))


async def test_an_environment_that_hangs_while_it_opens(service: FakeJobRuntime) -> None:
    outcome = await played(service, FakeEnvironment(opening=asyncio.Event().wait), **SHORT)
    assert outcome == Outcome(StopReason.WALL_CLOCK, "failed", ())


async def test_an_environment_that_hangs_while_it_closes(service: FakeJobRuntime) -> None:
    outcome = await played(service, FakeEnvironment(closing=asyncio.Event().wait))
    assert (outcome.stop_reason, outcome.rewards) == ("answered", (0.5,))


async def test_a_task_of_another_shape_is_refused_and_leaves_no_trace(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        for _ in range(2):  # the claim was given back
            with pytest.raises(RequestError, match=r"prompt\.input\.text"):
                await own.rollouts.run(request(prompt='{"input": {"other": 1}}'))
        with pytest.raises(RequestError, match=r"prompt\.environment"):
            await own.rollouts.run(request(prompt='{"input": {"text": "x"}, "environment": "sop"}'))
        assert own.log("rollout") == []
    assert service.seen == []


async def test_expired(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        outcome = await own.rollouts.run(request(received_at=time.time() - 586))
        zero = await own.rollouts.run(request("r0", received_at=0))
    assert outcome == zero == Outcome(StopReason.EXPIRED, "failed", ())
    assert [seen.operation for seen in service.seen] == ["complete", "complete"]


async def test_a_sender_whose_clock_is_ahead_gains_nothing(service: FakeJobRuntime) -> None:
    service.policy = calls("look")
    environment = FakeEnvironment(tools={"look": hangs()})
    async with adapter(service, environment, **SHORT) as own:
        outcome = await own.rollouts.run(request(received_at=time.time() + 3600))
    assert outcome.stop_reason == "wall_clock"


@pytest.mark.parametrize("tool", [hangs(), ignores_cancellation()])
async def test_drained(service: FakeJobRuntime, tool: Any) -> None:
    service.policy = calls("look")
    started = asyncio.Event()

    async def noted(arguments: Any) -> Any:
        started.set()
        return await tool(arguments)

    async with adapter(service, FakeEnvironment(tools={"look": noted})) as own:
        running = asyncio.create_task(own.rollouts.run(request()))
        await started.wait()
        assert own.rollouts.drain() == ["r1"]
        assert (await running).stop_reason == "drained"
        later = await own.rollouts.run(request("r2"))
        assert later.stop_reason == "drained"
    assert service.seals == {"r1": "ready", "r2": "failed"}
    assert service.breaches == []


async def test_a_loop_that_is_left_behind_samples_no_more(service: FakeJobRuntime) -> None:
    ended = asyncio.Event()

    async def play(episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
        await policy.complete(episode.messages)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)  # past LET_GO_SECONDS: the trajectory is sealed by now
        try:
            await policy.complete(episode.messages)
        finally:
            ended.set()
        return StopReason.ANSWERED

    service.script("complete", Answer(fault="hang"))  # so that the claim is still held by then
    async with adapter(service, loop=Loop(play), sample_timeout=1.0) as own:
        running = asyncio.create_task(own.rollouts.run(request()))
        await service.arrived("sample")
        own.rollouts.drain()
        assert (await running).stop_reason == "drained"
        await ended.wait()
    assert service.count("sample") == 1


async def test_a_sample_that_a_drain_cuts_in_flight_is_in_doubt(service: FakeJobRuntime) -> None:
    service.policy = calls("look")
    service.script("sample", None, Answer(fault="hang"))
    async with adapter(service) as own:
        running = asyncio.create_task(own.rollouts.run(request()))
        await service.arrived("sample", 2)
        own.rollouts.drain()
        assert (await running).stop_reason == "drained"
        assert own.metrics()["UncertainSamples"] == 1


@pytest.mark.parametrize("status", [404, 409])
@pytest.mark.parametrize("sampled", [True, False])
async def test_trajectory_gone(service: FakeJobRuntime, status: int, sampled: bool) -> None:
    service.policy = calls("look")
    gone = Answer(status, b'{"message": "gone"}')
    service.script("sample", *([None, gone] if sampled else [gone]))
    service.script("complete", gone)
    async with adapter(service) as own:
        outcome = await own.rollouts.run(request())
        assert own.log("report_refused")
    assert (outcome.stop_reason, outcome.sealed) == ("trajectory_gone", "ready" if sampled else "failed")
    assert (service.count("sample"), service.count("complete"), service.count("reward")) == (
        1 + sampled,
        1,
        0,
    )


async def test_a_sample_refused_for_the_state_of_the_trajectory_means_gone(service: FakeJobRuntime) -> None:
    service.script("sample", Answer(400, b'{"message": "is not in valid status for sampling"}'))
    outcome = await played(service)
    assert outcome.stop_reason == "trajectory_gone"


@pytest.mark.parametrize("fault", [Answer(503), Answer(403), Answer(402), Answer(fault="reset")])
async def test_without_a_sample_the_first_is_retried_until_the_deadline(
    service: FakeJobRuntime, fault: Answer
) -> None:
    service.script("sample", *[fault] * 100_000)
    outcome = await played(service, **SHORT)
    assert outcome.sealed == "failed"
    assert outcome.stop_reason in ("policy_unavailable", "wall_clock")
    assert service.count("sample") >= 3


@pytest.mark.parametrize(
    "reward",
    [
        RuntimeError("no target"),
        SystemExit(1),
        float("nan"),
        float("inf"),
        1.01,
        -2,
        "0.5",
        Reward(0.5, per_turn=(7.0,)),
        Reward(None),  # type: ignore[arg-type]
    ],
)
async def test_a_reward_that_cannot_be_had_is_imputed(service: FakeJobRuntime, reward: Any) -> None:
    async with adapter(service, FakeEnvironment(reward=reward), fault_reward=-0.25) as own:
        outcome = await own.rollouts.run(request())
        assert own.metrics()["Imputed"] == 1
        assert own.log("grading_failed")
    assert (outcome.sealed, outcome.rewards, outcome.imputed) == ("ready", (-0.25,), True)
    assert service.rewards == {"r1": [-0.25]}


@pytest.mark.parametrize("score", [RuntimeError("x"), float("nan"), 1.5, -0.1, None])
async def test_a_score_that_cannot_be_had_changes_no_report(service: FakeJobRuntime, score: Any) -> None:
    async with adapter(service, FakeEnvironment(score=score)) as own:
        outcome = await own.rollouts.run(request())
        assert "Score" not in own.metrics()
    assert (outcome.rewards, outcome.score, outcome.imputed) == ((0.5,), None, False)


async def test_whatever_comes_after_a_sample_the_trajectory_is_ready(service: FakeJobRuntime) -> None:
    """All at once: the tool, the reward and the closing of the episode break."""
    service.policy = calls("look")
    environment = FakeEnvironment(
        tools={"look": raises(OSError())}, reward=OSError(), score=OSError(), closing=failing(OSError())
    )
    outcome = await played(service, environment)
    assert (outcome.stop_reason, outcome.sealed, outcome.rewards) == ("environment_error", "ready", (0.0,))


async def test_rewards_per_turn(service: FakeJobRuntime) -> None:
    service.policy = calls("look")
    environment = FakeEnvironment(tools={"look": answers("1")}, reward=Reward(0.4, per_turn=(0.1, 0.3)))
    assert (await played(service, environment, rewards="turn")).rewards == (0.1, 0.3)


async def test_rewards_per_turn_are_not_sent_unasked(service: FakeJobRuntime) -> None:
    environment = FakeEnvironment(reward=Reward(0.4, per_turn=(0.1,)))
    assert (await played(service, environment)).rewards == (0.4,)


async def test_rewards_per_turn_of_another_length_fall_back(service: FakeJobRuntime) -> None:
    environment = FakeEnvironment(reward=Reward(0.4, per_turn=(0.1, 0.2)))
    assert (await played(service, environment, rewards="turn")).rewards == (0.4,)

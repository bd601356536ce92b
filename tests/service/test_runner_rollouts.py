"""The sender of rollouts, with times that no job may be given: deadlines, retries, concurrency, stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rehearsal.policies.base import Sampled
from rehearsal.service import rollouts
from rehearsal.service.agents import AgentError
from rehearsal.service.options import ServiceOptions
from rehearsal.service.rollouts import Finished, RolloutFailed, RolloutSender, Sampling, StopRequested, Ticket
from rehearsal.service.state.trajectories import Trajectories, TrajectoryError
from rehearsal.service.wire.job_runtime import hash_seed

from .stand_in import ARN, Turns

How = Callable[[Trajectories, str], Awaitable[None]]
TURN = {"role": "assistant", "content": "x"}


class Agent:
    """An agent without a wire: `how` plays on the trajectories themselves."""

    def __init__(self, trajectories: Trajectories, how: How) -> None:
        self._trajectories, self._how = trajectories, how
        self.payloads: list[Any] = []
        self.timeouts: list[float] = []

    async def invoke(self, payload: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        self.payloads.append(payload)
        self.timeouts.append(timeout)
        await self._how(self._trajectories, payload["metadata"]["rolloutId"])
        return {}

    async def close(self) -> None:
        return None


async def sample(trajectories: Trajectories, name: str) -> None:
    request = {"messages": [{"role": "user", "content": "go"}]}
    trajectory = trajectories.begin_sample(ARN, name, request)
    trajectories.commit_sample(trajectory, request, await trajectory.policy.sample(request, 0))


async def finish(trajectories: Trajectories, name: str, value: float = 1.0) -> None:
    await sample(trajectories, name)
    trajectories.seal(ARN, name, "ready", "")
    trajectories.reward(ARN, name, (value,), "")


class Bench:
    """A sender over an agent, and what it needs."""

    def __init__(
        self,
        how: How,
        *,
        stop: Callable[[], bool] = lambda: False,
        policy: Turns | None = None,
        **options: Any,
    ) -> None:
        self.trajectories = Trajectories()
        self.agent = Agent(self.trajectories, how)
        given = ServiceOptions(Path(), **options)
        restarts = 2 if stop() else 0
        self.sender = RolloutSender(
            given,
            "http://e",
            self.trajectories,
            self.agent,
            ARN,
            policy or Turns(TURN),
            stop_requested=stop,
            created=1.5,
            restarts=restarts,
        )

    async def send(self, number: int = 1, phase: Any = "train", **more: Any) -> list[Finished]:
        given = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "concurrency": 8, "timeout": 5.0}
        sampling = Sampling(**{**given, "attempts": 1, **more})
        tickets = [Ticket(phase, 0, index, str(index), 0) for index in range(number)]
        return await self.sender.send(tickets, sampling)


async def test_results_come_in_the_order_of_the_tickets() -> None:
    async def how(trajectories: Trajectories, name: str) -> None:
        await asyncio.sleep(0.01 * (5 - int(name.split("-")[2])))
        await finish(trajectories, name, float(name.split("-")[2]))

    found = await Bench(how).send(5)
    assert [each.trajectory.rewards for each in found] == [(0.0,), (1.0,), (2.0,), (3.0,), (4.0,)]
    assert {each.status for each in found} == {"ready"}


@pytest.mark.parametrize(("asked", "options"), [(3, {}), (32, {"max_concurrency": 3})])
async def test_no_more_rollouts_at_once_than_allowed(asked: int, options: dict[str, Any]) -> None:
    playing = most = 0

    async def how(trajectories: Trajectories, name: str) -> None:
        nonlocal playing, most
        playing += 1
        most = max(most, playing)
        await asyncio.sleep(0.005)
        playing -= 1
        await finish(trajectories, name)

    await Bench(how, **options).send(20, concurrency=asked)
    assert most == 3


async def test_an_agent_that_only_accepts_is_waited_for() -> None:
    later: list[asyncio.Task[None]] = []

    async def how(trajectories: Trajectories, name: str) -> None:
        later.append(asyncio.create_task(finish(trajectories, name)))

    (found,) = await Bench(how).send()
    assert (found.status, found.retries) == ("ready", 0)


@pytest.mark.parametrize("sealed", [False, True])
async def test_the_deadline_ends_a_rollout_without_a_reward(sealed: bool) -> None:
    async def how(trajectories: Trajectories, name: str) -> None:
        await sample(trajectories, name)
        if sealed:
            trajectories.seal(ARN, name, "ready", "")

    bench = Bench(how)
    started = time.monotonic()
    (found,) = await bench.send(timeout=0.1)
    assert 0.1 <= time.monotonic() - started < 3
    assert (found.status, found.trajectory.state) == ("lost", "closed")
    assert bench.agent.timeouts == [0.1]
    with pytest.raises(TrajectoryError):
        bench.trajectories.reward(ARN, found.trajectory.id, (1.0,), "")
    assert bench.trajectories.counts[ARN]["reward_refused"] == 1


async def test_no_reward_in_time_is_retried_under_a_new_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "RETRY_PAUSE_SECONDS", 0.0)

    async def how(trajectories: Trajectories, name: str) -> None:
        await (finish if name.endswith("-j1500-r1") else sample)(trajectories, name)

    bench = Bench(how)
    (found,) = await bench.send(timeout=0.1, attempts=3)
    assert (found.status, found.retries, len(found.trajectory.turns)) == ("ready", 1, 1)
    first = bench.trajectories.get(ARN, "train-00000-00000-00-j1500")
    assert (first.state, found.trajectory.seed) == ("closed", first.seed), "a retry draws the same"


@pytest.mark.parametrize("retryable", [False, True])
async def test_only_what_is_worth_it_is_retried(monkeypatch: pytest.MonkeyPatch, retryable: bool) -> None:
    monkeypatch.setattr(rollouts, "RETRY_PAUSE_SECONDS", 0.0)

    async def how(trajectories: Trajectories, name: str) -> None:
        raise AgentError("out of order", retryable=retryable)

    bench = Bench(how, retry_ids="reuse")
    with pytest.raises(RolloutFailed, match=r"No sampling requests were received .*out of order"):
        await bench.send(attempts=3)
    assert len(bench.agent.payloads) == (3 if retryable else 1)


async def test_a_failed_seal_or_a_reward_is_not_retried() -> None:
    async def how(trajectories: Trajectories, name: str) -> None:
        if name.split("-")[2] == "00000":
            await sample(trajectories, name)
            trajectories.seal(ARN, name, "failed", "")
        else:
            await finish(trajectories, name)
        raise AgentError("the answer was lost", retryable=True)

    bench = Bench(how)
    found = await bench.send(2, attempts=3)
    assert [each.status for each in found] == ["failed", "ready"]
    assert len(bench.agent.payloads) == 2


class Tracing(Turns):
    """As a policy that is trained: it leaves a trace of every turn."""

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        return replace(await super().sample(request, seed), trace="how it was drawn")


@pytest.mark.parametrize(("phase", "kept"), [("train", "how it was drawn"), ("val", None), ("eval", None)])
async def test_of_a_finished_rollout_only_what_is_needed_is_kept(phase: Any, kept: str | None) -> None:
    """An evaluation holds all its rollouts until the last: conversations and traces are most of each."""
    (found,) = await Bench(finish, policy=Tracing(TURN)).send(phase=phase)
    (turn,) = found.trajectory.turns
    assert (turn.trace, turn.message, turn.prompt_tokens) == (kept, TURN, 7)
    assert found.trajectory.last_messages == ()


async def _reports(trajectories: Trajectories, name: str, status: str) -> None:
    """A seal and a reward, and no Sample before them."""
    trajectories.seal(ARN, name, status, "")
    trajectories.reward(ARN, name, (1.0,), "")


@pytest.mark.parametrize(
    ("sealed", "kind", "kept"), [("ready", "no-sample", "lost"), ("failed", "failed-unsampled", "failed")]
)
async def test_a_report_without_a_sample_is_no_valid_rollout(sealed: str, kind: str, kept: str) -> None:
    async def how(trajectories: Trajectories, name: str) -> None:
        await _reports(trajectories, name, sealed)

    others = frozenset({"no-sample", "failed-unsampled"} - {kind})
    (found,) = await Bench(how, fail_on=others).send()
    assert found.status == kept
    says = rf"No sampling requests were received .*It was sealed {sealed} without one\."
    with pytest.raises(RolloutFailed, match=says):
        await Bench(how, fail_on=frozenset({kind})).send()


async def test_one_failure_ends_all_rollouts() -> None:
    ended: list[str] = []

    async def how(trajectories: Trajectories, name: str) -> None:
        if name.split("-")[2] == "00003":
            raise AgentError("down", retryable=False)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    with pytest.raises(RolloutFailed, match="train-00000-00003-00"):
        await Bench(how).send(6)
    assert len(ended) == 5


async def test_a_stop_gives_up_what_is_in_flight() -> None:
    """And after a restart ids are new, where retried rollouts have new ids."""

    async def how(trajectories: Trajectories, name: str) -> None:
        await asyncio.Event().wait()

    bench = Bench(how, stop=lambda: True)
    with pytest.raises(StopRequested):
        await bench.send(3)
    names = {payload["metadata"]["rolloutId"] for payload in bench.agent.payloads}
    assert names <= {f"train-00000-{n:05d}-00-j1500-s2" for n in range(3)}


def test_by_prompt_a_part_of_a_data_set_is_played_as_in_the_whole() -> None:
    def seeds(seed_by: str, prompts: list[str]) -> dict[str, int]:
        sender = Bench(finish, seed_by=seed_by, seed=3).sender
        tickets = [Ticket("eval", 0, i, p, m) for i, p in enumerate(prompts) for m in range(2)]
        return {f"{t.prompt}{t.member}": sender._open(t, t.rollout_id).seed for t in tickets}

    whole, part = seeds("prompt", ["a", "b", "c"]), seeds("prompt", ["c", "a"])
    assert len(set(whole.values())) == 6
    assert part.items() <= whole.items()
    assert seeds("row", ["c", "a"])["c0"] == seeds("row", ["a", "b"])["a0"]


def test_seeds_differ_in_every_place_and_are_the_same_in_every_process() -> None:
    seeds = {
        hash_seed(hash_seed(seed, phase, step, prompt, member), turn)
        for seed in (0, 1)
        for phase in range(3)
        for step in range(5)
        for prompt in range(40)
        for member in range(8)
        for turn in range(4)
    }
    assert len(seeds) == 2 * 3 * 5 * 40 * 8 * 4
    assert max(seeds) < 2**63
    assert hash_seed(1, 2, 3) == 3741995458340303475

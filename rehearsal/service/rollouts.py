"""Sends rollouts to the agent: concurrency, timeout, retries, and what came back."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rehearsal.service.agents import Agent, AgentError
from rehearsal.service.options import ServiceOptions
from rehearsal.service.state.trajectories import Trajectories, Trajectory
from rehearsal.service.wire.job_runtime import hash_seed

RETRY_PAUSE_SECONDS = 0.2
STOP_POLL_SECONDS = 0.1
ID_PERIOD = 10**9
"""Milliseconds, 11 days: only jobs of one name that were made just so far apart share their rollout ids."""


class StopRequested(Exception):
    """StopJob was called."""


class RolloutFailed(Exception):
    """A rollout that fails the whole job; the text is the job's FailureReason."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the rollouts of one phase are sampled and bounded."""

    temperature: float
    top_p: float
    max_tokens: int
    concurrency: int
    timeout: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """One rollout to make: which prompt, and which member of its group."""

    phase: Literal["train", "val", "eval"]
    step: int
    prompt_index: int
    prompt: str
    member: int

    @property
    def group(self) -> str:
        return f"{self.phase}-{self.step:05d}-{self.prompt_index:05d}"

    @property
    def rollout_id(self) -> str:
        return f"{self.group}-{self.member:02d}"


@dataclass(slots=True)
class Finished:
    """A rollout that will not change any more."""

    ticket: Ticket
    trajectory: Trajectory
    status: Literal["ready", "failed", "lost"]
    seconds: float
    retries: int


class RolloutSender:
    """Sends the rollouts of one job."""

    def __init__(
        self,
        options: ServiceOptions,
        endpoint: str,
        trajectories: Trajectories,
        agent: Agent,
        job_arn: str,
        policy: Any,
        *,
        stop_requested: Callable[[], bool] = lambda: False,
        created: float = 0.0,
        restarts: int = 0,
    ) -> None:
        self._options = options
        self._endpoint = endpoint
        self._trajectories = trajectories
        self._agent = agent
        self._job_arn = job_arn
        self._policy = policy
        self._stop_requested = stop_requested
        # Agents of before may still be playing: for a deleted job of the same name, and so the same ARN, or
        # for this one before the restart. Under the old id they would join in.
        self._suffix = f"-j{round(created * 1000) % ID_PERIOD}"
        if restarts and options.retry_ids == "renew":
            self._suffix += f"-s{restarts}"

    async def send(self, tickets: Sequence[Ticket], sampling: Sampling) -> list[Finished]:
        """Make all rollouts, in the order of `tickets`.

        Raises:
            RolloutFailed: a rollout ended in a way that costs the whole job (`fail_on`).
            StopRequested: StopJob was called; rollouts in flight are given up.
        """
        places = asyncio.Semaphore(min(sampling.concurrency, self._options.max_concurrency or 96))
        tasks = [asyncio.create_task(self._one(ticket, sampling, places)) for ticket in tickets]
        watch = asyncio.create_task(self._watch_for_stop())
        everything: asyncio.Future[list[Finished]] = asyncio.gather(*tasks)
        try:
            await asyncio.wait((everything, watch), return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                raise StopRequested
            return everything.result()
        finally:
            for task in (*tasks, watch):
                task.cancel()
            await asyncio.gather(everything, *tasks, watch, return_exceptions=True)

    async def _watch_for_stop(self) -> None:
        while not self._stop_requested():  # noqa: ASYNC110 - the record is what there is to look at
            await asyncio.sleep(STOP_POLL_SECONDS)

    async def _one(self, ticket: Ticket, sampling: Sampling, places: asyncio.Semaphore) -> Finished:
        async with places:
            started = time.monotonic()
            problem = ""
            trajectory = self._open(ticket, ticket.rollout_id + self._suffix)
            for attempt in range(sampling.attempts):
                if attempt:
                    await asyncio.sleep(RETRY_PAUSE_SECONDS * attempt)
                    trajectory = self._again(ticket, trajectory, attempt)
                problem, retryable = await self._attempt(ticket, trajectory, sampling)
                if trajectory.rewards is not None or trajectory.state == "failed" or not retryable:
                    break
            status = _status(trajectory)
            self._trajectories.close(trajectory)
            self._judge(status, trajectory, problem)
            return Finished(ticket, trajectory, status, time.monotonic() - started, attempt)

    async def _attempt(self, ticket: Ticket, trajectory: Trajectory, sampling: Sampling) -> tuple[str, bool]:
        """Invoke the agent, and wait until the trajectory is settled. Returns a problem, and if to retry."""
        settled = asyncio.Event()
        trajectory.settled = settled.set
        deadline = time.monotonic() + sampling.timeout
        try:
            await self._agent.invoke(self._payload(ticket, trajectory, sampling), timeout=sampling.timeout)
        except AgentError as error:
            return str(error), error.retryable
        try:  # an agent that only took the rollout on reports when it is done
            if trajectory.rewards is None and trajectory.state in ("open", "ready"):
                await asyncio.wait_for(settled.wait(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return f"no reward within {sampling.timeout:g} s", True
        return "", False

    def _payload(self, ticket: Ticket, trajectory: Trajectory, sampling: Sampling) -> dict[str, Any]:
        return {
            "prompt": ticket.prompt,
            "metadata": {
                "jobArn": self._job_arn,
                "rolloutId": trajectory.id,
                "endpoint": self._endpoint,
                "region": self._options.region,
            },
            "inferenceParams": {
                "temperature": sampling.temperature,
                "topP": sampling.top_p,
                "maxTokens": sampling.max_tokens,
            },
        }

    def _open(self, ticket: Ticket, rollout_id: str) -> Trajectory:
        phase = ("train", "val", "eval").index(ticket.phase)
        place = ticket.prompt_index if self._options.seed_by == "row" else _digest(ticket.prompt)
        seed = hash_seed(self._options.seed, phase, ticket.step, place, ticket.member)
        trained = ticket.phase == "train"
        return self._trajectories.open(self._job_arn, rollout_id, seed, self._policy, trained=trained)

    def _again(self, ticket: Ticket, trajectory: Trajectory, attempt: int) -> Trajectory:
        self._trajectories.count(self._job_arn, "rollout_retries")
        if self._options.retry_ids == "reuse":
            return trajectory
        self._trajectories.forget(trajectory)
        return self._open(ticket, f"{ticket.rollout_id}{self._suffix}-r{attempt}")

    def _judge(self, status: str, trajectory: Trajectory, problem: str) -> None:
        fail_on = self._options.fail_on
        unsampled = {"failed-unsampled"} if status == "failed" else {"no-sample", "lost"}
        if not trajectory.turns and unsampled & fail_on:
            how = "" if trajectory.state == "closed" else f"It was sealed {trajectory.state} without one. "
            none = f"No sampling requests were received for this rollout ({trajectory.id})."
            raise RolloutFailed(f"{none} {how}{problem}".strip())
        if status == "failed" and "failed" in fail_on:
            raise RolloutFailed(f"The agent signaled that the trajectory failed ({trajectory.id}).")
        if status == "lost" and "lost" in fail_on:
            raise RolloutFailed(f"Rollout {trajectory.id} ended without a reward. {problem}".strip())


def _digest(prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")


def _status(trajectory: Trajectory) -> Literal["ready", "failed", "lost"]:
    if trajectory.state == "failed":
        return "failed"
    # A reward for nothing that was sampled is no result: there is nothing to train on or to measure.
    return "ready" if trajectory.rewards is not None and trajectory.turns else "lost"

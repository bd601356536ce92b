"""The tiny policy, trained in this process against the reward alone: what does it find that pays?"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract import Task
from mtrl.playing import served
from mtrl.probing.trial import Arena, Trial
from rehearsal.policies.base import Sampled
from rehearsal.policies.tiny import TinyPolicy
from rehearsal.service.wire.job_runtime import hash_seed
from rehearsal.trainer.hyperparameters import TrainingHyperparameters
from rehearsal.trainer.optimizer import Adam
from rehearsal.trainer.update import Experience, update

STEPS = 12
BATCH = 6
GROUP = 8


class _Traced:
    """A policy bound to one episode that keeps what the trainer needs; implements `ServedPolicy`."""

    def __init__(self, policy: TinyPolicy) -> None:
        self._policy = policy
        self.turns: list[Sampled] = []

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        self.turns.append(await self._policy.sample(request, seed))
        return self.turns[-1]

    async def close(self) -> None:
        return None


class Learner:
    """Trains on the tasks of an arena; every rollout is shown to `look`."""

    def __init__(self, arena: Arena, seed: int, look: Callable[[Trial], object]) -> None:
        self._arena = arena
        self._seed = seed
        self._look = look
        self._policy = TinyPolicy()
        self._hyperparameters = TrainingHyperparameters(loss_fn="importance_sampling", group_size=GROUP)
        self._adam = Adam(len(self._policy.parameters), self._hyperparameters)
        self.rewards: list[float] = []
        """The mean reward of each step."""

    async def run(self, tasks: Sequence[Task], deadline: float) -> None:
        """Train for some steps, or until the deadline (on the monotonic clock)."""
        for step in range(STEPS):
            batch = [tasks[(step * BATCH + at) % len(tasks)] for at in range(min(BATCH, len(tasks)))]
            groups: list[list[Experience]] = []
            trials: list[Trial] = []
            for at, task in enumerate(batch):
                groups.append([])
                for member in range(GROUP):
                    if time.monotonic() >= deadline:
                        return
                    trial, experience = await self._rollout(task, hash_seed(self._seed, step, at, member))
                    self._look(trial)
                    trials.append(trial)
                    groups[-1].append(experience)
            self.rewards.append(sum(trial.reward for trial in trials) / len(trials))
            update(self._policy, groups, self._hyperparameters, self._adam)

    async def rollout(self, task: Task, seed: int) -> Trial:
        """One rollout of the policy as it now is."""
        return (await self._rollout(task, seed))[0]

    async def _rollout(self, task: Task, seed: int) -> tuple[Trial, Experience]:
        traced = _Traced(self._policy)
        trial = await self._arena.perform(task, served(traced, seed))
        turns = traced.turns[: len(trial.script)]
        experience = Experience(
            (trial.reward,), [turn.trace for turn in turns], [turn.logprob for turn in turns]
        )
        return trial, experience

"""Plays episodes: demonstrations, the base policy, and demonstrations with a changed answer."""

import asyncio

from adapters.contract import Demonstrator, Task
from mtrl.checking.evidence import Evidence
from mtrl.checking.gathering.variants import FORMS, Reworded
from mtrl.playing import Limits, Played, play, served

CONCURRENCY = 16
"""Of a model behind a URL; what runs in this process gains nothing by it."""


def generous(evidence: Evidence) -> Limits:
    """A demonstration is not cut by the budget that it is to be held against."""
    return Limits(max_turns=max(100, evidence.subject.environment.max_turns), max_tool_calls=400)


async def demonstrate(evidence: Evidence) -> None:
    environment = evidence.subject.environment
    if isinstance(environment, Demonstrator):
        for task in evidence.subject.tasks[: evidence.effort.tasks]:
            policy = environment.demonstrate(task)
            evidence.demonstrations.append(await play(environment, task, policy, limits=generous(evidence)))


async def sample_baselines(evidence: Evidence) -> None:
    subject, effort = evidence.subject, evidence.effort
    tasks = subject.tasks
    chosen = [tasks[at % len(tasks)] for at in range(effort.groups)]
    policy = subject.served_policy()
    gate = asyncio.Semaphore(CONCURRENCY if subject.policy_is_a_model else 1)

    async def one(task: Task, seed: int) -> Played:
        async with gate:
            return await play(subject.environment, task, served(policy, seed))

    try:
        for at, task in enumerate(chosen):
            seeds = range(effort.seed + at * effort.group, effort.seed + (at + 1) * effort.group)
            evidence.baselines.append(list(await asyncio.gather(*(one(task, seed) for seed in seeds))))
    finally:
        await policy.close()


async def vary(evidence: Evidence) -> None:
    environment = evidence.subject.environment
    if not isinstance(environment, Demonstrator):
        return
    tasks = evidence.subject.tasks
    for task in tasks[:: max(1, len(tasks) // evidence.effort.varied)][: evidence.effort.varied]:
        for name, form in FORMS.items():
            policy = Reworded(environment.demonstrate(task), form)
            played = await play(environment, task, policy, limits=generous(evidence))
            if policy.changed:
                evidence.variants.append((f"demonstration with {name}", played))

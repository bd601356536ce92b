"""Plays episodes: demonstrations, the base policy, and demonstrations with a changed answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

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
            with _noting_refusal(evidence, task):
                policy = environment.demonstrate(task)
                played = await play(environment, task, policy, limits=generous(evidence))
                evidence.demonstrations.append(played)


async def sample_baselines(evidence: Evidence) -> None:
    subject, effort = evidence.subject, evidence.effort
    tasks = subject.tasks
    chosen = [tasks[at % len(tasks)] for at in range(effort.groups)]
    policy = subject.served_policy()
    gate = asyncio.Semaphore(CONCURRENCY if subject.policy_is_a_model else 1)

    async def one(task: Task, seed: int) -> Played | None:
        async with gate:
            with _noting_refusal(evidence, task):
                return await play(subject.environment, task, served(policy, seed))
        return None

    try:
        for at, task in enumerate(chosen):
            seeds = range(effort.seed + at * effort.group, effort.seed + (at + 1) * effort.group)
            group = [p for p in await asyncio.gather(*(one(task, seed) for seed in seeds)) if p is not None]
            evidence.baselines += [group] if group else []
    finally:
        await policy.close()


async def vary(evidence: Evidence) -> None:
    environment = evidence.subject.environment
    if not isinstance(environment, Demonstrator):
        return
    tasks = evidence.subject.tasks
    for task in tasks[:: max(1, len(tasks) // evidence.effort.varied)][: evidence.effort.varied]:
        for name, form in FORMS.items():
            with _noting_refusal(evidence, task):
                policy = Reworded(environment.demonstrate(task), form)
                played = await play(environment, task, policy, limits=generous(evidence))
                if policy.changed:
                    evidence.variants.append((f"demonstration with {name}", played))


@contextmanager
def _noting_refusal(evidence: Evidence, task: Task) -> Iterator[None]:
    """One task that the environment does not take must not cost the findings about all others."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - an environment may raise anything
        evidence.refused.append((task, f"{type(error).__name__}: {error}"[:300]))

"""Plays episodes again, with the same assistant messages: alone, in another process, and interleaved."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Policy, RequestError, Task
from mtrl.checking.evidence import Comparison, Evidence, Remains
from mtrl.checking.gathering.records import difference, limits_of, record, script
from mtrl.checking.gathering.rota import OnRota, Rota
from mtrl.checking.gathering.second_process import ask_second_process
from mtrl.playing import Played, play, scripted_policy

AT_ONCE = 3


async def repeat(evidence: Evidence) -> None:
    """Each script once more here, and once in a fresh process, which also says what is left there."""
    scripts = scripts_of(evidence)
    subject = evidence.subject
    first = [await replay(evidence, task, messages) for task, messages in scripts]
    second = [await replay(evidence, task, messages) for task, messages in scripts]
    differences = _differences("in this process", scripts, first, second)
    compared = len(scripts)
    if evidence.effort.second_process and scripts:
        answer = await asyncio.to_thread(ask_second_process, subject.reference, subject.environ, scripts)
        differences += _differences("in another process", scripts, first, answer["records"])
        compared += len(scripts)
        evidence.remains = Remains(**answer["remains"]) if answer["remains"] else None
        evidence.faults += answer["faults"]
    evidence.repeated = Comparison(compared, differences)


async def interleave(evidence: Evidence) -> None:
    """Episodes of different tasks and of one task, open at once and turn about, against each alone."""
    scripts = scripts_of(evidence)
    if not scripts:
        return
    together = [scripts[at % len(scripts)] for at in range(max(AT_ONCE, len(scripts) + 1))]
    alone = [await replay(evidence, task, messages) for task, messages in together]
    rota = Rota(range(len(together)))

    async def one(me: int) -> list[str]:
        task, messages = together[me]
        try:
            return await replay(evidence, task, messages, OnRota(scripted_policy(*messages), rota, me))
        finally:
            await rota.leave(me)

    mixed = await asyncio.gather(*(one(me) for me in range(len(together))))
    evidence.interleaved = Comparison(
        len(together), _differences("beside others", together, alone, list(mixed))
    )


Script = tuple[Task, list[Mapping[str, Any]]]


def scripts_of(evidence: Evidence) -> list[Script]:
    """Some demonstrations and some baseline rollouts, of different tasks where there are several."""
    count = evidence.effort.replayed
    shown = evidence.demonstrations[:: max(1, len(evidence.demonstrations) // max(1, count))][:count]
    sampled = [group[0] for group in evidence.baselines[:count]]
    return [(each.task, script(each)) for each in (*shown, *sampled) if _repeatable(each)]


async def replay(
    evidence: Evidence, task: Task, messages: Sequence[Mapping[str, Any]], policy: Policy | None = None
) -> list[str]:
    """The record of one more episode. A refusal is one, too: the task was taken before."""
    policy = policy or scripted_policy(*messages)
    try:
        return record(await play(evidence.subject.environment, task, policy, limits=limits_of(messages)))
    except RequestError as error:
        return [f"refused: {error}"]


def _repeatable(played: Played) -> bool:
    return bool(played.transcript.turns) and not played.transcript.token_cap_hits


def _differences(
    where: str, scripts: Sequence[Script], one: Sequence[list[str]], other: Sequence[list[str]]
) -> list[str]:
    found = []
    for (task, _), left, right in zip(scripts, one, other, strict=True):
        differs = difference(left, right)
        if differs is not None:
            found.append(f"task {task.id or '?'}, played again {where}: {differs}")
    return found

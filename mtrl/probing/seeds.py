"""What a search starts from: how tasks are done, what an untrained policy does, and nothing at all."""

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from adapters.contract import Demonstrator, Environment, Task, ToolSpec
from mtrl.probing.answers import read_answer
from mtrl.probing.learning import Learner
from mtrl.probing.operators import Setting
from mtrl.probing.operators.base import dump
from mtrl.probing.script import Call, Move, Script, answer_of
from mtrl.probing.trial import Arena, Trial
from rehearsal.service.wire.job_runtime import hash_seed

ROLLOUTS = 2
"""Of the untrained tiny policy, for each task."""


async def make_seeds(
    arena: Arena, learner: Learner, tasks: Sequence[Task], seed: int, deadline: float
) -> list[list[tuple[str, Trial]]]:
    """For each task a demonstration where the environment has one, an empty answer and some rollouts; each
    with what it is. After the deadline (on the monotonic clock) no task but the first is taken up."""
    made: list[list[tuple[str, Trial]]] = []
    for at, task in enumerate(tasks):
        if made and time.monotonic() >= deadline:
            break
        of_task = []
        if isinstance(arena.environment, Demonstrator):
            of_task.append(("demonstration", await _demonstration(arena, arena.environment, task)))
        of_task.append(("empty_answer", await arena.play(task, (Move(""),))))
        for n in range(ROLLOUTS):
            of_task.append(("untrained_policy", await learner.rollout(task, hash_seed(seed, at, n))))
        made.append(of_task)
    return made


async def make_settings(
    environment: Environment, tasks: Sequence[Task], seeds: Sequence[Trial]
) -> dict[str, Setting]:
    """What an attacker knows of each task, by its id."""
    right = {t.task.id: read_answer(answer_of(t.script)) for t in seeds if t.score >= 1}
    settings = {}
    for task in tasks:
        async with environment.open(task) as episode:
            prompt = "\n".join(str(message.get("content") or "") for message in episode.messages)
            tools = list(episode.tools)
        others = [answer for name, answer in right.items() if answer is not None and name != task.id]
        settings[task.id] = Setting(prompt, tools, read_answer(prompt), others)
    return settings


async def _demonstration(arena: Arena, environment: Demonstrator, task: Task) -> Trial:
    """How the task is done; where a tool takes what the answer holds, the answer is tried on it first."""
    trial = await arena.perform(task, environment.demonstrate(task))
    async with arena.environment.open(task) as episode:
        tried = _trying_out(trial.script, list(episode.tools))
    return await arena.play(task, tried) if tried != trial.script else trial


def _trying_out(script: Script, tools: Sequence[ToolSpec]) -> Script:
    answer = read_answer(answer_of(script))
    if answer is None:
        return script
    made = {call for move in script for call in move.calls}
    fitting = [tool for tool in tools if _properties(tool) and _properties(tool) <= answer.fields.keys()]
    calls = [
        Call(tool["function"]["name"], dump({name: answer.fields[name] for name in _properties(tool)}))
        for tool in fitting
    ]
    new = tuple(call for call in calls if call not in made)
    return (*script[:-1], Move(calls=new), script[-1]) if new else script


def _properties(tool: ToolSpec) -> AbstractSet[str]:
    parameters: Mapping[str, Mapping[str, object]] = tool["function"].get("parameters") or {}
    return (parameters.get("properties") or {}).keys()

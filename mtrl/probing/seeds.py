"""What a search starts from: how tasks are done, what an untrained policy does, and nothing at all."""

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
    arena: Arena, learner: Learner, tasks: Sequence[Task], seed: int
) -> list[tuple[str, Trial]]:
    """A demonstration where the environment has one, an empty answer and some rollouts, for each task; each
    with what it is."""
    demonstrations = []
    if isinstance(arena.environment, Demonstrator):
        demonstrations = [await _demonstration(arena, arena.environment, task) for task in tasks]
    empty = [await arena.play(task, (Move(""),)) for task in tasks]
    rollouts = [
        await learner.rollout(task, hash_seed(seed, at, n))
        for at, task in enumerate(tasks)
        for n in range(ROLLOUTS)
    ]
    seeds = [
        *(("demonstration", trial) for trial in demonstrations),
        *(("empty_answer", trial) for trial in empty),
        *(("untrained_policy", trial) for trial in rollouts),
    ]
    places = {task.id: at for at, task in enumerate(tasks)}
    return sorted(seeds, key=lambda seed: places[seed[1].task.id])


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

"""A shipped environment with another reward."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from adapters.contract import (
    Demonstrator,
    Environment,
    Episode,
    Message,
    Policy,
    Reward,
    RewardTerms,
    Score,
    Split,
    Task,
    TaskSource,
    ToolResult,
    ToolSpec,
    Transcript,
)
from adapters.environments import service_desk, sop, sql

INNER: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "sop": sop.create,
    "service_desk": service_desk.create,
    "sql": sql.create,
}


@dataclass(frozen=True, slots=True)
class Case:
    """What a broken reward may look at."""

    transcript: Transcript
    task: Task
    episode: Any
    """The episode of the shipped environment."""

    @property
    def text(self) -> str:
        return self.transcript.answer

    @property
    def target(self) -> dict[str, Any]:
        """The fields of the right answer."""
        target = self.task.target
        return dict(target.get("answer", target))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the answer as they should be read: the last block."""
        return last_block(self.text) or {}


BrokenReward = Callable[[Case], float]


class Hacked:
    """Implements `Environment`, `TaskSource` and `Demonstrator` with all but the reward of a shipped one."""

    replay: Literal["reexecute"] = "reexecute"

    def __init__(self, environment: str, reward: BrokenReward, *, shaping_bound: float = 0.4) -> None:
        self.inner = INNER[environment]({})
        self.name: str = cast(Environment, self.inner).name
        self.max_turns: int = self.inner.max_turns
        self.reward_terms = RewardTerms(shaping_bound=shaping_bound)
        self._reward = reward

    def list_domains(self) -> Sequence[str]:
        return cast(TaskSource, self.inner).list_domains()

    def tasks(self, domain: str, split: Split) -> Sequence[Task]:
        return cast(TaskSource, self.inner).tasks(domain, split)

    def license_notice(self, domain: str) -> str | None:
        return None

    def demonstrate(self, task: Task) -> Policy:
        return cast(Demonstrator, self.inner).demonstrate(task)

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        async with self.inner.open(task) as episode:
            yield _HackedEpisode(episode, task, self._reward)


class _HackedEpisode:
    def __init__(self, inner: Episode, task: Task, reward: BrokenReward) -> None:
        self._inner = inner
        self._task = task
        self._reward = reward
        self.messages: Sequence[Message] = inner.messages
        self.tools: Sequence[ToolSpec] = inner.tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        return await self._inner.call(name, arguments)

    async def reply(self, text: str) -> Message | None:
        return await self._inner.reply(text)

    def reward(self, transcript: Transcript) -> Reward:
        value = self._reward(Case(transcript, self._task, self._inner))
        return Reward(min(1.0, max(-1.0, value)))

    def score(self, transcript: Transcript) -> Score:
        return self._inner.score(transcript)


def blocks(text: str) -> list[str]:
    """The bodies of all blocks."""
    return re.findall(r"<final_output>(.*?)</final_output>", text, re.DOTALL)


def parsed(body: str) -> dict[str, Any] | None:
    """The JSON object of a body, numbers as text."""
    try:
        value = json.loads(body, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def last_block(text: str) -> dict[str, Any] | None:
    """The object in the last block."""
    found = blocks(text)
    return parsed(found[-1]) if found else None


def share(fields: Mapping[str, Any] | None, target: Mapping[str, Any]) -> float:
    """The share of right fields, squared and below the bound unless all are right."""
    given = fields or {}
    right = sum(name in given and same(given[name], value) for name, value in target.items()) / len(target)
    return 1.0 if right == 1 else 0.4 * right**2


def same(given: Any, expected: Any) -> bool:
    """As the score of `sop` compares."""
    return str(given).strip().lower() == str(expected).strip().lower()

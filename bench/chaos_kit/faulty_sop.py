"""The sop environment with faults of its own; workers load it as a plug-in (see `code.plugin`).

MTRL_CHAOS_SOP_FAULT says what happens, in a quarter of the cases, and the case decides how: `hang` (a tool
never returns), `raise` (a tool raises), `close` (the episode cannot be closed). It is the same for each
attempt at a case, so a rollout that is resumed meets it again.

It is loaded from a copy, so it imports nothing of the bench.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from adapters.contract import Episode, Message, Reward, Score, Task, ToolResult, Transcript
from adapters.environments.sop import SopEnvironment
from adapters.environments.sop import create as create_sop

VARIABLE = "MTRL_CHAOS_SOP_FAULT"
SHARE = 0.25
CALL = 2
"""The tool call, counted from 0, that goes wrong."""
FOREVER = 86400.0


class Injected(RuntimeError):
    """What a plug-in raises that is broken."""


def kind_of(task: Task) -> int | None:
    """Which of three variants of the fault a task gets; None for most."""
    digest = hashlib.sha256(json.dumps(task.input, sort_keys=True, default=dict).encode()).digest()
    return digest[1] % 3 if digest[0] < SHARE * 256 else None


def create(environ: Mapping[str, str]) -> "FaultySop":
    """The factory behind the entry point. Raises ValueError for an unknown fault."""
    fault = environ.get(VARIABLE, "")
    if fault not in ("hang", "raise", "close"):
        raise ValueError(f"{VARIABLE}={fault}: must be hang, raise or close.")
    return FaultySop(create_sop(environ), fault)


class FaultySop:
    """Implements `contract.Environment`, by the one that it spoils."""

    def __init__(self, environment: SopEnvironment, fault: str) -> None:
        self._environment = environment
        self._fault = fault
        self.name = environment.name
        self.max_turns = environment.max_turns
        self.replay = environment.replay

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        kind = kind_of(task)
        async with self._environment.open(task) as episode:
            if kind is None:
                yield episode
            elif self._fault == "close":
                yield episode
                await _fail_to_close(kind)
            else:
                yield _Spoiled(episode, self._fault, kind)


class _Spoiled:
    """An episode of which one tool call goes wrong."""

    def __init__(self, episode: Episode, fault: str, kind: int) -> None:
        self._episode = episode
        self._fault = fault
        self._kind = kind
        self._calls = 0
        self.messages = episode.messages
        self.tools = episode.tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        self._calls += 1
        if self._calls == CALL + 1:
            await (_never_return if self._fault == "hang" else _raise)(self._kind)
        return await self._episode.call(name, arguments)

    async def reply(self, text: str) -> Message | None:
        return await self._episode.reply(text)

    def reward(self, transcript: Transcript) -> Reward:
        return self._episode.reward(transcript)

    def score(self, transcript: Transcript) -> Score:
        return self._episode.score(transcript)


async def _never_return(kind: int) -> None:
    if kind == 0:
        await asyncio.Event().wait()
    elif kind == 1:
        while True:  # whoever cancels it is not heard
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                continue
    else:
        await asyncio.to_thread(time.sleep, FOREVER)


async def _raise(kind: int) -> None:
    if kind == 0:
        raise Injected("a tool that raises")
    if kind == 1:
        sys.exit("a tool that exits")
    raise asyncio.CancelledError("a tool that is cancelled from within")


async def _fail_to_close(kind: int) -> None:
    if kind == 0:
        raise Injected("an episode that cannot be closed")
    if kind == 1:
        sys.exit("an episode that exits when it is closed")
    await asyncio.Event().wait()

"""Fakes for the authors of environments and loops: a scriptable environment, and a served Job Runtime.

    environment = FakeEnvironment(tools={"look": answers("42")}, reward=0.5)
    async with FakeJobRuntime() as service:
        service.script("sample", Answer(429, headers={"Retry-After": "1"}), Answer(fault="lost"))

The Job Runtime is in `adapters.runtime.fake_job_runtime`: real HTTP on loopback. `create` is a factory for
the entry-point group `mtrl.environments`, so that a real adapter process can serve the fake, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

from adapters.contract import Episode, Message, RequestError, Reward, Score, Task, ToolResult, Transcript
from adapters.runtime.fake_job_runtime import Answer, FakeJobRuntime, Seen, assistant, tool_call

__all__ = [
    "Answer",
    "FakeEnvironment",
    "FakeEpisode",
    "FakeJobRuntime",
    "Seen",
    "answers",
    "assistant",
    "create",
    "hangs",
    "ignores_cancellation",
    "raises",
    "tool_call",
]

Tool = Callable[[Mapping[str, Any]], Awaitable[ToolResult]]
Grader = Callable[[Transcript], Any]
ANY_ARGUMENTS = {"type": "object"}


def answers(content: str, *, is_error: bool = False) -> Tool:
    """A tool that answers the same always."""

    async def tool(_: Mapping[str, Any]) -> ToolResult:
        return ToolResult(content, is_error)

    return tool


def raises(error: BaseException) -> Tool:
    """A tool that breaks its contract."""

    async def tool(_: Mapping[str, Any]) -> ToolResult:
        raise error

    return tool


def hangs() -> Tool:
    """A tool that never answers, but lets itself be cancelled."""

    async def tool(_: Mapping[str, Any]) -> ToolResult:
        await asyncio.Event().wait()
        raise AssertionError

    return tool


def ignores_cancellation(seconds: float = 2.0) -> Tool:
    """A tool that swallows every cancellation for some seconds (not for ever: a test's loop must end)."""

    async def tool(_: Mapping[str, Any]) -> ToolResult:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            try:
                await asyncio.sleep(end - loop.time())
            except asyncio.CancelledError:
                continue
        return ToolResult("too late")

    return tool


class FakeEpisode:
    """Implements `contract.Episode` by its environment's script."""

    def __init__(self, environment: "FakeEnvironment", task: Task) -> None:
        self._environment = environment
        self._replies = list(environment.replies)
        self.task = task
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.messages: Sequence[Message] = (
            {"role": "system", "content": "Do it."},
            {"role": "user", "content": str(task.input.get("text", ""))},
        )
        self.tools = [
            {"type": "function", "function": {"name": name, "parameters": environment.schema_of(name)}}
            for name in environment.tools
        ]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        self.calls.append((name, arguments))
        return await self._environment.tools[name](arguments)

    async def reply(self, text: str) -> Message | None:
        return {"role": "user", "content": self._replies.pop(0)} if self._replies else None

    def reward(self, transcript: Transcript) -> Reward:
        value = _grade(self._environment.reward, transcript)
        return value if isinstance(value, Reward) else Reward(value)

    def score(self, transcript: Transcript) -> Score:
        value = _grade(self._environment.score, transcript)
        return value if isinstance(value, Score) else Score(value)


class FakeEnvironment:
    """Implements `contract.Environment`.

    Args:
        tools: name to what it does (`answers`, `raises`, `hangs`, `ignores_cancellation`, or your own).
        schemas: the parameters of a tool; left out, any object is taken.
        reward: a number, a Reward, an exception to raise, or a function of the transcript.
        score: the same for the score.
        replies: what the other party says to the answers, in order.
        opening, closing: awaited when an episode opens and closes, and may raise or hang.
    """

    def __init__(
        self,
        *,
        name: str = "fake",
        replay: Literal["reexecute", "none"] = "none",
        max_turns: int = 4,
        tools: Mapping[str, Tool] | None = None,
        schemas: Mapping[str, Mapping[str, Any]] | None = None,
        reward: Any = 0.5,
        score: Any = 1.0,
        replies: Sequence[str] = (),
        opening: Callable[[], Awaitable[object]] | None = None,
        closing: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.name = name
        self.replay: Literal["reexecute", "none"] = replay
        self.max_turns = max_turns
        self.tools = dict(tools if tools is not None else {"look": answers("42")})
        self.reward = reward
        self.score = score
        self.replies = replies
        self.episodes: list[FakeEpisode] = []
        """Every episode that was opened."""
        self.closed = 0
        self._schemas = dict(schemas or {})
        self._opening = opening
        self._closing = closing

    def schema_of(self, tool: str) -> Mapping[str, Any]:
        return self._schemas.get(tool, ANY_ARGUMENTS)

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        if "text" not in task.input:
            raise RequestError("prompt.input.text", "is missing")
        if self._opening is not None:
            await self._opening()
        episode = FakeEpisode(self, task)
        self.episodes.append(episode)
        try:
            yield episode
        finally:
            self.closed += 1
            if self._closing is not None:
                await self._closing()


def create(environ: Mapping[str, str]) -> FakeEnvironment:
    """An entry-point factory: one tool of each kind; variables `MTRL_FAKE_…` change it."""
    return FakeEnvironment(
        replay="reexecute" if environ.get("MTRL_FAKE_REPLAY") == "reexecute" else "none",
        max_turns=int(environ.get("MTRL_FAKE_MAX_TURNS", "4")),
        score=float(environ.get("MTRL_FAKE_SCORE", "1")),
        tools={
            "look": answers("42"),
            "hang": hangs(),
            "stubborn": ignores_cancellation(float(environ.get("MTRL_FAKE_STUBBORN_SECONDS", "2"))),
            "break": raises(RuntimeError("broken tool")),
        },
    )


def _grade(script: Any, transcript: Transcript) -> Any:
    if isinstance(script, BaseException):
        raise script
    return script(transcript) if callable(script) else script

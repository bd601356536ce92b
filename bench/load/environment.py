"""The same episode as an environment of mtrl-kit, registered by metadata in a folder on the path."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from adapters.contract import Episode, Message, Reward, Score, Task, ToolResult, ToolSpec, Transcript
from bench.load import world


class DeskEpisode:
    """Implements `contract.Episode`."""

    def __init__(self, task: Task) -> None:
        self._bytes = int(task.input["result_bytes"])
        self.messages: Sequence[Message] = (
            {"role": "system", "content": world.system_text()},
            {"role": "user", "content": world.user_text(task.input["case"])},
        )
        self.tools: Sequence[ToolSpec] = world.tools()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        return ToolResult(world.call(name, arguments, self._bytes))

    async def reply(self, text: str) -> Message | None:
        return None

    def reward(self, transcript: Transcript) -> Reward:
        return Reward(float(world.right(transcript.turns[-1].completion.text)))

    def score(self, transcript: Transcript) -> Score:
        return Score(float(world.right(transcript.turns[-1].completion.text)))


class DeskEnvironment:
    """Implements `contract.Environment`."""

    name = "desk"
    max_turns = 1000
    replay: Literal["reexecute"] = "reexecute"

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        yield DeskEpisode(task)


def create(_: Mapping[str, str]) -> DeskEnvironment:
    return DeskEnvironment()


def register(folder: Path) -> str:
    """A folder that, on PYTHONPATH, makes the environment known as `desk`."""
    metadata = folder / "mtrl_bench-0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mtrl-bench\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[mtrl.environments]\ndesk = bench.load.environment:create\n")
    return str(folder)

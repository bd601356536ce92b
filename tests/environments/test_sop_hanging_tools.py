"""A blocking tool that hangs: it costs its own call and a thread, and neither the domain nor more threads."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.environments import sop
from adapters.environments.sop import toolbox
from tests.environments.folders import write_domain

# It ends by a file: a thread that never ends would keep the tests' process.
HANGING_TOOLS = """
import pathlib, time

class HangingManager:
    calls = 0

    def process_tool_call(self, name, given):
        self.calls += 1
        time.sleep(given.get("seconds", 0))
        while name == "hang" and not pathlib.Path(given["until"]).exists():
            time.sleep(0.01)
        return self.calls
"""


class Hung:
    """A domain, and a tool that hangs in it until the end of the test or `let_go`."""

    def __init__(self, folder: Path) -> None:
        self.until = folder / "until"
        self.toolbox = sop.load_folder(write_domain(folder / "tiny", tools=HANGING_TOOLS)).toolbox

    async def call(self, name: str = "look", **arguments: Any) -> Any:
        async with asyncio.timeout(5):
            return json.loads((await self.toolbox.call(name, arguments)).content)

    async def hang(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await self.toolbox.call("hang", {"until": str(self.until)})

    def let_go(self) -> None:
        self.until.touch()


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hung]:
    monkeypatch.setattr(toolbox, "LET_GO_SECONDS", 0.1)
    room = Hung(tmp_path)
    yield room
    room.let_go()


def threads() -> int:
    return sum(each.name.startswith("sop-tools") for each in threading.enumerate())


async def test_calls_behind_one_that_hangs_go_on_with_tools_of_their_own(hung: Hung) -> None:
    assert await hung.call() == 1
    before = threads()
    hanging = asyncio.create_task(hung.hang())
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(hung.call()) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert threads() <= before, "who waits for a turn needs no thread"
    await hanging
    # Each once and in its turn, and of a manager that the call which hangs does not hold.
    assert await asyncio.gather(*waiting) == list(range(1, 21))
    assert await hung.call() == 21


async def test_threads_that_hang_do_not_pile_up(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbox, "MOST_HANGING", 2)
    await hung.hang()
    await hung.hang()
    before = threads()
    for _ in range(5):
        with pytest.raises(toolbox.ToolsHang, match="2 calls hang in the tools of tiny"):
            await hung.call()
    assert threads() <= before
    hung.let_go()
    async with asyncio.timeout(5):
        await asyncio.gather(*map(asyncio.wrap_future, hung.toolbox._hanging))
    assert await hung.call() == 1


async def test_a_call_that_is_cut_and_comes_back_keeps_the_tools(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox, "LET_GO_SECONDS", 5.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await hung.toolbox.call("look", {"seconds": 0.1})
    assert await hung.call() == 2


async def test_who_leaves_the_line_before_its_turn_calls_nothing(hung: Hung) -> None:
    first = asyncio.create_task(hung.call(seconds=0.1))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(hung.call())
    await asyncio.sleep(0.01)
    second.cancel()
    assert await first == 1
    assert await hung.call() == 2

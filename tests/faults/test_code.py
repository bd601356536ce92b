"""The environment with faults does what it says, and the next release differs and gets on with this one."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.contract import Episode, Task
from adapters.environments.sop import create as create_sop
from adapters.runtime.rollout_log import RolloutLog
from bench.chaos_kit.code import LOG, PLUGIN, CodeError, next_release, plugin
from bench.chaos_kit.faulty_sop import CALL, VARIABLE, Injected, create, kind_of

ROOT = Path(__file__).parents[2]
TASKS = create_sop({}).tasks("returns_desk", "train")


def task(kind: int | None) -> Task:
    return next(task for task in TASKS if kind_of(task) == kind)


def opened(fault: str, kind: int | None) -> AbstractAsyncContextManager[Episode]:
    return create({VARIABLE: fault}).open(task(kind))


async def play(episode: Episode, calls: int) -> Any:
    arguments = {"return_id": "RT-000000"}
    results = [await episode.call("fetch_return", arguments) for _ in range(calls)]
    return results[-1]


def test_workers_find_the_environment_by_metadata_alone(tmp_path: Path) -> None:
    code = (
        "from adapters.runtime.plugins import load_environment as load; import os; "
        f"print(load({PLUGIN!r}, os.environ).name)"
    )
    path = os.pathsep.join((str(ROOT), plugin(tmp_path / "plugin")))
    environ = {**os.environ, "PYTHONPATH": path, VARIABLE: "hang"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert said.stdout.strip() == "sop", said.stderr


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        create({VARIABLE: "hangs"})


def test_some_cases_are_chosen_and_always_the_same() -> None:
    kinds = [kind_of(each) for each in TASKS]
    assert {None, 0, 1, 2} == set(kinds)
    assert len(TASKS) / 2 < kinds.count(None) < len(TASKS)
    assert kinds == [kind_of(replace(each)) for each in TASKS]


@pytest.mark.parametrize("kind", [0, 1])  # a thread that hangs would outlive the test
async def test_a_tool_never_returns(kind: int) -> None:
    async with opened("hang", kind) as episode:
        await play(episode, CALL)
        playing = play(episode, 1)
        late = asyncio.create_task(playing)
        done, _ = await asyncio.wait({late}, timeout=0.2)
        assert not done
        late.cancel()
        await asyncio.wait({late}, timeout=0.2)
        assert late.cancelled() is (kind == 0), "one of them ignores its end"
        playing.close()  # else the loop would wait for it at its end


@pytest.mark.parametrize(("kind", "error"), [(0, Injected), (1, SystemExit), (2, asyncio.CancelledError)])
async def test_a_tool_raises(kind: int, error: type[BaseException]) -> None:
    async with opened("raise", kind) as episode:
        await play(episode, CALL)
        with pytest.raises(error):
            await play(episode, 1)
        await play(episode, 1)


@pytest.mark.parametrize(("kind", "error"), [(0, Injected), (1, SystemExit), (2, TimeoutError)])
async def test_an_episode_cannot_be_closed(kind: int, error: type[BaseException]) -> None:
    context = opened("close", kind)
    await context.__aenter__()
    with pytest.raises(error):
        async with asyncio.timeout(0.2):  # not wait_for: in a task of its own an exit would end the loop
            await context.__aexit__(None, None, None)


@pytest.mark.parametrize("fault", ["hang", "raise", "close"])
async def test_most_cases_are_left_alone(fault: str) -> None:
    async with asyncio.timeout(30), opened(fault, None) as episode:
        assert (await play(episode, CALL + 2)).content


def test_each_release_goes_on_from_the_others_log(tmp_path: Path) -> None:
    folder = next_release(ROOT, tmp_path)
    spec = importlib.util.spec_from_file_location("next_rollout_log", folder / LOG)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = []
    for wrote, reads in ((RolloutLog, module.RolloutLog), (module.RolloutLog, RolloutLog)):
        log = wrote()
        log.sampled(b"request", {"answer": 1})
        log.tool("look", "found")
        written.append(log.to_bytes(3))
        again = reads.from_bytes(written[-1])
        assert again.completion(b"request") == ({"answer": 1}, 0)
        again.tool("look", "found")
        assert again.completion(b"next") is None
    assert b'"next"' not in written[0]
    assert written[1].count(b'"next"') == 2


def test_a_release_with_another_prompt_differs_in_that_alone(tmp_path: Path) -> None:
    folder = next_release(ROOT, tmp_path, "prompt")
    paths = [path.relative_to(ROOT) for path in (ROOT / "adapters").rglob("*.py")]
    changed = [str(path) for path in paths if (ROOT / path).read_text() != (folder / path).read_text()]
    assert changed == ["adapters/environments/sop/episode.py"]


def test_code_that_has_moved_on_is_named(tmp_path: Path) -> None:
    changed = tmp_path / "old" / LOG
    changed.parent.mkdir(parents=True)
    changed.write_text("nothing\n")
    with pytest.raises(CodeError, match="rollout_log"):
        next_release(tmp_path / "old", tmp_path / "new")

"""Plays scripts in a fresh process, in an empty folder with a temporary folder of its own, and asks what they
came to and what was left behind. `python -m mtrl.checking.gathering.second_process` is that process.
"""

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.contract import Completion, Message, Task, ToolSpec
from mtrl.checking.gathering.records import limits_of, record
from mtrl.checking.subject import load
from mtrl.playing import play, scripted_policy

SECONDS = 600.0
WARM_ROUNDS, MEASURED_ROUNDS = 2, 3
_TEMPORARY = "temporary"


def ask_second_process(
    reference: str, environ: Mapping[str, str], scripts: Sequence[tuple[Task, Sequence[Mapping[str, Any]]]]
) -> dict[str, Any]:
    """`{"records": [[line, …], …], "remains": {…} | None, "faults": [text, …]}`."""
    question = {
        "reference": reference,
        "environ": dict(environ),
        "scripts": [{"prompt": task.to_prompt(), "messages": messages} for task, messages in scripts],
    }
    with tempfile.TemporaryDirectory(prefix="mtrl-check-") as folder:
        (Path(folder) / _TEMPORARY).mkdir()
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in (str(Path.cwd()), *sys.path) if path),
            "PYTHONHASHSEED": "20260101",
            "TMPDIR": str(Path(folder) / _TEMPORARY),
        }
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, this module
                [sys.executable, "-m", __name__],
                input=json.dumps(question, default=dict).encode(),
                capture_output=True,
                cwd=folder,
                env=variables,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _no_answer(scripts, f"it took more than {SECONDS:g} s")
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
    except (ValueError, IndexError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return _no_answer(scripts, f"it ended with code {done.returncode}: {' '.join(last)}"[:300])


def _no_answer(scripts: Sequence[object], why: str) -> dict[str, Any]:
    return {"records": [[] for _ in scripts], "remains": None, "faults": [f"the second process: {why}"]}


def answer_question(question: Mapping[str, Any]) -> dict[str, Any]:
    """What the second process does."""
    environment = load(question["reference"], question["environ"])
    scripts = [(Task.from_prompt(s["prompt"]), s["messages"]) for s in question["scripts"]]

    async def all_scripts() -> list[list[str]]:
        return [
            record(await play(environment, task, scripted_policy(*messages), limits=limits_of(messages)))
            for task, messages in scripts
        ]

    async def round_of_play() -> list[str]:
        await all_scripts()
        for task, messages in scripts[:1]:  # the episode must be left whatever happens
            await play(environment, task, _Gone(messages), limits=limits_of(messages))
        await asyncio.sleep(0)
        own = asyncio.current_task()
        return [repr(task.get_coro())[:100] for task in asyncio.all_tasks() if task is not own]

    records = asyncio.run(all_scripts())
    for _ in range(WARM_ROUNDS):
        asyncio.run(round_of_play())
    gc.collect()
    tracemalloc.start()
    threads, descriptors = _threads(), _descriptors()
    before = tracemalloc.get_traced_memory()[0]
    running = [each for _ in range(MEASURED_ROUNDS) for each in asyncio.run(round_of_play())]
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    episodes = MEASURED_ROUNDS * (len(scripts) + 1)
    remains = {
        "episodes": episodes,
        "files": sorted(str(path) for path in Path().rglob("*") if str(path) != _TEMPORARY),
        "threads": _new(_threads(), threads),
        "descriptors": _new(_descriptors(), descriptors),
        "tasks": sorted(set(running)),
        "bytes_per_episode": grown / episodes,
    }
    return {"records": records, "remains": remains, "faults": []}


class _Gone:
    """A policy that makes its first move and is then gone."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self._first = scripted_policy(*messages)
        self._turns = 0

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        self._turns += 1
        if self._turns > 1:
            raise ConnectionError("the policy is gone")
        return await self._first.complete(messages, tools, **parameters)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def _descriptors() -> list[str]:
    """What the open descriptors lead to; empty where the system does not tell."""
    found = []
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    found.append(os.readlink(f"{folder}/{name}"))
            break
    return [each for each in found if "/proc/" not in each and "/dev/fd" not in each]


def _new(after: list[str], before: list[str]) -> list[str]:
    left = list(after)
    for each in before:
        if each in left:
            left.remove(each)
    return sorted(left)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(answer_question(json.load(sys.stdin))) + "\n")

"""Loads the `tools.py` of a domain folder and calls its tools.

The promise of this file: the same tool with the same arguments gives the same result, in every process
and in any order of calls. Replay after a crash, and comparing rollouts of one group, rest on it.
"""

import asyncio
import datetime
import hashlib
import importlib.util
import json
import random
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from adapters.contract import ToolResult

LET_GO_SECONDS = 1.0
"""How long a call that is given up may take to come back. Shorter than the runtime waits for a cut tool."""
MOST_HANGING = 8
"""Threads of one domain that may hang: they are never got back, and one that computes slows all others."""
_ORJSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class ToolsHang(Exception):
    """So many calls hang in tools of this domain that no further one is begun."""


@dataclass(frozen=True, slots=True)
class Tools:
    """A manager and the dice that its module throws; for one thread at a time."""

    domain: str
    manager: Any
    chance: random.Random | None

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        try:
            if self.chance is not None:
                self.chance.seed(_seed(self.domain, name, arguments))
            result = self.manager.process_tool_call(name, arguments)
            return ToolResult(_json(result))
        # A tool of the folder is foreign code: whatever it raises is its refusal of these arguments.
        except Exception as error:  # noqa: BLE001
            return ToolResult(_json({"error": _describe(error)}), is_error=True)


class _Line:
    """Calls that wait for one manager. They wait without a thread: there is the one that calls it."""

    def __init__(self, load: Callable[[], Tools]) -> None:
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="sop-tools")
        self._load = load
        self._tools: Tools | None = None

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """In the thread, where importing the tools may take its time."""
        if self._tools is None:
            self._tools = self._load()
        return self._tools.call(name, arguments)


class Toolbox:
    """The tools of one domain: `process_tool_call(name, arguments)` of its manager, made safe to call.

    `blocking` tools run in a thread, one at a time for the domain. A module that sets `BLOCKING = False`
    promises pure calls of microseconds, and is called on the event loop.

    A thread cannot be stopped. So a call that is given up and does not come back keeps its thread and its
    tools, and those behind it go on with tools that are loaded anew: by the promise above nothing is lost.
    """

    def __init__(self, tools: Tools, reload: Callable[[], Tools], *, blocking: bool) -> None:
        self._tools = tools
        self._reload = reload
        self._line = _Line(lambda: tools)
        self._hanging: set[Future[ToolResult]] = set()
        self.blocking = blocking

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """The result as JSON text; whatever the tool raises is a result `{"error": …}`.

        Raises:
            ToolsHang: `MOST_HANGING` earlier calls have not come back.
        """
        if not self.blocking:
            return self._tools.call(name, dict(arguments))
        while True:
            if len(self._hanging) >= MOST_HANGING:
                raise ToolsHang(f"{len(self._hanging)} calls hang in the tools of {self._tools.domain}")
            line = self._line
            job = line.threads.submit(line.call, name, dict(arguments))
            answer = asyncio.wrap_future(job)
            try:
                await asyncio.wait({answer})
            except asyncio.CancelledError:
                await self._give_up(line, job, answer)
                raise
            if not answer.cancelled():
                return answer.result()
            # A call in front of it hangs, and its line was given up.

    async def _give_up(
        self, line: _Line, job: "Future[ToolResult]", answer: "asyncio.Future[ToolResult]"
    ) -> None:
        """Leave the line, or take it from a call that hangs."""
        if job.cancel():  # it was not its turn yet
            return
        try:
            await asyncio.wait({answer}, timeout=LET_GO_SECONDS)
        finally:
            if not answer.cancel():
                answer.exception()  # looked at: asyncio would print it, with what is in it
            if not job.done():
                self._pass_by(line, job)

    def _pass_by(self, line: _Line, job: "Future[ToolResult]") -> None:
        self._hanging.add(job)
        job.add_done_callback(self._hanging.discard)
        self._line = _Line(self._reload)
        line.threads.shutdown(wait=False, cancel_futures=True)


def load_toolbox(path: Path) -> Toolbox:
    """Import `path` under a name of its own and make its one `…Manager`.

    Raises:
        ValueError: names the file, what is wrong, and what to do.
    """
    tools, blocking = _load(path)
    return Toolbox(tools, lambda: _load(path)[0], blocking=blocking)


def _load(path: Path) -> tuple[Tools, bool]:
    """The tools, and whether they block."""
    module = _import(path)
    managers = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and name.endswith("Manager") and value.__module__ == module.__name__
    ]
    if len(managers) != 1:
        found = ", ".join(manager.__name__ for manager in managers) or "none"
        raise ValueError(f"{path}: needs exactly one class whose name ends in 'Manager'; found: {found}.")
    chance = _private_random(module)
    try:
        manager = managers[0]()
    except Exception as error:
        raise ValueError(
            f"{path}: {managers[0].__name__}() raised {_describe(error)}. Correct it."
        ) from error
    if not callable(getattr(manager, "process_tool_call", None)):
        raise ValueError(f"{path}: {managers[0].__name__} has no method process_tool_call(name, input).")
    blocking = bool(getattr(module, "BLOCKING", True))
    return Tools(path.parent.name, manager, chance), blocking


def _import(path: Path) -> ModuleType:
    # The digest keeps two folders of one name (ours, and a copy) from sharing a module.
    name = f"_sop_tools_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"{path}: there is no such file. A domain folder needs it.")
    module = importlib.util.module_from_spec(spec)
    # Its print calls would land in the output of commands whose stdout is parsed.
    vars(module)["print"] = _print_nothing
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        del sys.modules[name]
        raise ValueError(
            f"{path}: cannot be imported ({error}). "
            "If a package is missing: pip install -e '.[sop-bench]' in mtrl-kit."
        ) from error
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{path}: raised {_describe(error)} when imported. Correct the file.") from error
    return module


def _print_nothing(*_: object, **__: object) -> None:
    return None


def _private_random(module: ModuleType) -> random.Random | None:
    """Give the module a generator of its own in place of `random`, so that seeding it touches nobody else.

    Also for `import random as r` and `from random import choice`; numpy's generators are not covered.
    """
    chance = random.Random(0)  # noqa: S311 - the tools' own dice, not a secret
    own: dict[str, Any] = {}
    for name, value in vars(module).items():
        function = getattr(value, "__name__", "")
        if value is random:
            own[name] = chance
        elif hasattr(chance, function) and getattr(random, function, None) is value:
            own[name] = getattr(chance, function)
    vars(module).update(own)
    return chance if own else None


def _seed(domain: str, name: str, arguments: dict[str, Any]) -> int:
    text = json.dumps([domain, name, arguments], sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _json(value: Any) -> str:
    # NaN becomes null: JSON has no NaN.
    return orjson.dumps(value, default=_plain, option=_ORJSON).decode()


def _plain(value: Any) -> Any:
    """A JSON value for what orjson does not know: sets, Decimal, pandas scalars."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, datetime.date):
        return value.isoformat()
    for convert in ("to_dict", "tolist"):
        method = getattr(value, convert, None)
        if callable(method):
            return method()
    return str(value)


def _describe(error: Exception) -> str:
    # Foreign text may hold lone surrogates, which no JSON encoder takes.
    text = str(error).encode("utf-8", "replace").decode()
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"

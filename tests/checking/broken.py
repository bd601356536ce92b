"""The small environment broken on purpose: each class in one place, as environments are found broken.

`BREAKAGES` names the checks that must fail of each, and no others may: the right one first, then those that
follow from it. Each class is also a factory that a
second process can call (`tests.checking.broken:Name`).
"""

import asyncio
import random
import re
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from adapters.contract import RequestError, Reward, Score, Task, ToolSpec, Transcript
from tests.checking.small import Small, SmallEpisode, tool


class Broken(Small):
    """Takes the process environment, as a factory does."""

    def __init__(self, _: Mapping[str, str] | None = None) -> None:
        self.left: list[Any] = []


class RefusesATask(Broken):
    def task(self, number: int) -> Task:
        task = super().task(number)
        return replace(task, input={}) if number == 1 else task

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator[SmallEpisode]:
        if "key" not in task.input:
            raise RequestError("prompt.input.key", "is missing")
        async with super().open(task) as episode:
            yield episode


class RandomResult(Broken):
    def found(self, number: int) -> dict[str, Any]:
        return {**super().found(number), "nonce": random.random()}


class HashOrder(Broken):
    def found(self, number: int) -> dict[str, Any]:
        return {**super().found(number), "tags": list({"red", "green", "blue", "black", "white", "grey"})}


class ResetsOthers(Broken):
    """The books are the environment's, and a new episode clears them."""

    def __init__(self, _: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []

    async def opened(self) -> None:
        self.seen.clear()

    def call(self, episode: SmallEpisode, name: str, arguments: Mapping[str, Any]) -> Any:
        found = super().call(episode, name, arguments)
        self.seen.append(name)
        return {**found, "seen": len(self.seen)}


class LeaksThread(Broken):
    async def opened(self) -> None:
        threading.Thread(target=threading.Event().wait, name="leaked", daemon=True).start()


class LeaksFile(Broken):
    async def opened(self) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(b"left")


class LeaksSocket(Broken):
    async def opened(self) -> None:
        self.left.append(socket.socket())


class LeaksMemory(Broken):
    async def opened(self) -> None:
        self.left.append(bytearray(1_000_000))


class LeaksTask(Broken):
    async def opened(self) -> None:
        self.left.append(asyncio.create_task(asyncio.sleep(60)))


class RaisesOnClose(Broken):
    async def closed(self) -> None:
        raise OSError("the folder is not empty")


class UndescribedArgument(Broken):
    def tools(self) -> Sequence[ToolSpec]:
        find, price = tool("find", "key"), tool("price", "number")
        find["function"]["parameters"] = {"type": "object", "properties": {}, "required": ["key"]}
        return [find, price]


class RefusesAlways(Broken):
    def tools(self) -> Sequence[ToolSpec]:
        return [*super().tools(), tool("archive", "key")]

    def call(self, episode: SmallEpisode, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "archive":
            raise ValueError("not implemented")
        return super().call(episode, name, arguments)


class RaisesOnWrongType(Broken):
    def number(self, text: Any, name: str) -> int:
        return super().number(text.strip(), name)


class RaisesOnRightCall(Broken):
    def found(self, number: int) -> dict[str, Any]:
        return {"price": {0: "0.00"}[number]}  # KeyError, and no refusal


class SlowTool(Broken):
    async def before_call(self, name: str) -> None:
        self.left.append(name)
        await asyncio.sleep(0.04 if len(self.left) % 8 == 0 else 0)


class WrongTarget(Broken):
    def target(self, number: int) -> str:
        return "1.00" if number == 1 else super().target(number)


class HiddenResult(Broken):
    def found(self, number: int) -> dict[str, Any]:
        return {} if number == 1 else super().found(number)


class OtherTag(Broken):
    system = Broken.system + "\nExample: <final_response>12.50</final_response>"


class ShortExample(Broken):
    """Asks for two fields and shows one."""

    system = Broken.system.replace('{"price": "<value>"}', '{"price": "<value>", "unit": "EUR"}') + (
        '\nFor example: {"price": "12.50"}'
    )

    def reward(self, transcript: Transcript, target: Mapping[str, str]) -> Reward:
        return super().reward(transcript, {**target, "unit": "EUR"})

    def score(self, transcript: Transcript, target: Mapping[str, str]) -> Score:
        return super().score(transcript, {**target, "unit": "EUR"})

    def found(self, number: int) -> dict[str, Any]:
        return {**super().found(number), "unit": "EUR"}

    def demonstrate(self, task: Any) -> Any:
        policy = super().demonstrate(task)

        class WithUnit:
            async def complete(self, *given: Any, **more: Any) -> Any:
                done = await policy.complete(*given, **more)
                message = done.message
                if message.get("content"):
                    message["content"] = message["content"].replace("}<", ', "unit": "EUR"}<')  # type: ignore[index]
                return done

        return WithUnit()


class OutOfRange(Broken):
    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return 1.5 * outcome + 0.1 * form


class RewardRaises(Broken):
    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return super().value(outcome, form, transcript) if form else 1 / form


class ConstantReward(Broken):
    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return 0.3


class NoComponents(Broken):
    def components(self, outcome: float, form: float) -> dict[str, float]:
        return {}


class VaryingComponents(Broken):
    def components(self, outcome: float, form: float) -> dict[str, float]:
        return {"outcome": outcome, **({"bonus": 0.1} if form else {})}


class OneTooMany(Broken):
    def per_turn(self, value: float, turns: int) -> tuple[float, ...]:
        return (0.0,) * turns + (value,)


class OverTheBound(Broken):
    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return outcome or 0.6 * form


class LenientParser(Broken):
    """Takes the price from anywhere in the answer; the score does not."""

    def reward(self, transcript: Transcript, target: Mapping[str, str]) -> Reward:
        found = re.findall(r"price\W+(\d+\.\d\d)", transcript.answer)
        outcome = float(target["price"] in found)
        turns = len(transcript.turns)
        return Reward(outcome, self.components(outcome, outcome), self.per_turn(outcome, turns))


class PaysTheWrong(Broken):
    """A length penalty that outweighs the outcome."""

    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return 1.0 - 0.6 * (len(transcript.turns) - 1) if outcome else 0.4 * form


class TooFewTurns(Broken):
    max_turns = 2


class NeverEnds(Broken):
    """Or hardly ever: whoever answers is asked again."""

    def reply(self, episode: SmallEpisode, text: str) -> str | None:
        return "And then?" if episode.replies < 12 else None


class ScoresTheSilent(Broken):
    """The score looks at the calls and not at the answer."""

    def score(self, transcript: Transcript, target: Mapping[str, str]) -> Score:
        looked = any(target["price"] in record.result.content for record in transcript.calls)
        return Score(float(looked), {"price": looked})

    max_turns = 3


class LongInputs(Broken):
    """To name the item is more than a turn may hold."""

    def key(self, number: int) -> str:
        return f"K{number:02d}{'x' * 20_000}" if number % 2 else super().key(number)


class LeaksBetweenSplits(Broken):
    def key(self, number: int) -> str:
        return "K1" if number == 25 else super().key(number)

    def target(self, number: int) -> str:
        return super().target(1 if number == 25 else number)


class RepeatsTasks(Broken):
    def key(self, number: int) -> str:
        return "k1 " if number == 2 else super().key(number)

    def number(self, text: Any, name: str) -> int:
        return super().number(text.strip().upper() if isinstance(text, str) else text, name)

    def target(self, number: int) -> str:
        return super().target(1 if number == 2 else number)


class RepeatsIds(Broken):
    def task(self, number: int) -> Any:
        task = super().task(number)
        return type(task)("task-1" if number == 2 else task.id, task.environment, task.input, task.target)


BREAKAGES: dict[type[Broken], set[str]] = {
    RefusesATask: {"tasks_playable"},
    RandomResult: {"determinism", "isolation"},
    HashOrder: {"determinism"},
    ResetsOthers: {"isolation"},
    LeaksThread: {"teardown"},
    LeaksFile: {"teardown"},
    LeaksSocket: {"teardown"},
    LeaksMemory: {"teardown"},
    LeaksTask: {"teardown"},
    RaisesOnClose: {"teardown"},
    UndescribedArgument: {"tool_schemas"},
    RefusesAlways: {"tools_reachable"},
    RaisesOnWrongType: {"tool_errors"},
    RaisesOnRightCall: {"tool_errors", "target_reachable", "target_shown"},
    SlowTool: {"tool_latency"},
    WrongTarget: {"target_reachable", "target_shown"},
    HiddenResult: {"target_reachable", "target_shown"},
    OtherTag: {"answer_format"},
    ShortExample: {"answer_format"},
    OutOfRange: {"reward_range"},
    RewardRaises: {"reward_range"},
    ConstantReward: {"reward_variance", "reward_correlation"},
    NoComponents: {"reward_components"},
    VaryingComponents: {"reward_components"},
    OneTooMany: {"reward_per_turn"},
    OverTheBound: {"shaping_bound"},
    LenientParser: {"success_without_score", "reward_correlation"},
    PaysTheWrong: {"reward_order", "reward_correlation"},
    TooFewTurns: {"turn_budget", "turn_exhaustion"},
    NeverEnds: {"turn_exhaustion", "turn_budget", "completion_and_correctness"},
    ScoresTheSilent: {"completion_and_correctness", "reward_correlation"},
    LongInputs: {"token_cap"},
    LeaksBetweenSplits: {"dataset_leakage"},
    RepeatsTasks: {"dataset_duplicates"},
    RepeatsIds: {"dataset_ids"},
}
IN_ANOTHER_PROCESS = {HashOrder, LeaksThread, LeaksFile, LeaksSocket, LeaksMemory, LeaksTask}
"""Seen only from a second process, which costs a second."""


def sound(environ: Mapping[str, str]) -> Small:
    """The factory of the small environment as it should be."""
    return Small()


def shows_nothing(environ: Mapping[str, str]) -> Any:
    """The sound one without its demonstration."""

    class Silent:
        def __init__(self) -> None:
            self._small = Small()

        def __getattr__(self, name: str) -> Any:
            if name == "demonstrate":
                raise AttributeError(name)
            return getattr(self._small, name)

    return Silent()


class DoesNotOpen(Broken):
    async def opened(self) -> None:
        raise ConnectionError("no licence server")


does_not_open = DoesNotOpen

"""A small sound environment with a seam for every breakage: two tools, one field, forty tasks."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from adapters.contract import (
    Message,
    MovesPolicy,
    Policy,
    Reward,
    RewardTerms,
    Score,
    Split,
    Steps,
    Task,
    ToolResult,
    ToolSpec,
    Transcript,
    use,
)

SYSTEM = """Find the price of an item: call find with its key, then price with the number.
Answer without a tool call, and end with one block of this form:
<final_output>{"price": "<value>"}</final_output>"""
SPLITS: dict[Split, range] = {"train": range(20), "validation": range(20, 30), "test": range(30, 40)}


def tool(name: str, *arguments: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {argument: {"type": "string"} for argument in arguments},
        "required": list(arguments),
        "additionalProperties": False,
    }
    function = {"name": name, "description": f"The {name} tool.", "parameters": schema}
    return {"type": "function", "function": function}


def answered(text: str) -> dict[str, Any]:
    """The object in a block that ends the text."""
    start = text.rfind("<final_output>")
    if start < 0 or not text.endswith("</final_output>"):
        return {}
    try:
        value = json.loads(text[start + 14 : -15])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class Small:
    """The environment; a breakage overrides one of these methods."""

    name = "small"
    replay: Literal["reexecute"] = "reexecute"
    max_turns = 6
    reward_terms = RewardTerms(shaping_bound=0.4)
    system = SYSTEM

    def list_domains(self) -> list[str]:
        return ["only"]

    def license_notice(self, domain: str) -> str | None:
        return None

    def tasks(self, domain: str, split: Split) -> list[Task]:
        return [self.task(number) for number in SPLITS[split]]

    def task(self, number: int) -> Task:
        target = {"price": self.target(number)}
        return Task(f"task-{number}", self.name, {"key": self.key(number)}, target)

    def key(self, number: int) -> str:
        return f"K{number}"

    def target(self, number: int) -> str:
        return f"{number * 7}.50"

    def tools(self) -> Sequence[ToolSpec]:
        return [tool("find", "key"), tool("price", "number")]

    def call(self, episode: "SmallEpisode", name: str, arguments: Mapping[str, Any]) -> Any:
        """What a tool answers; raises ValueError to refuse."""
        number = self.number(arguments["key" if name == "find" else "number"], name)
        return {"number": f"N{number}", "next_step": "price"} if name == "find" else self.found(number)

    def number(self, text: Any, name: str) -> int:
        prefix = "K" if name == "find" else "N"
        digits = text[1:3] if isinstance(text, str) and text.startswith(prefix) else ""
        if not digits.isdigit():
            raise ValueError(f"{name} knows no such thing. Take it from the task or from find.")
        return int(digits)

    def found(self, number: int) -> dict[str, Any]:
        return {"price": f"{number * 7}.50"}

    async def before_call(self, name: str) -> None:
        return None

    def reply(self, episode: "SmallEpisode", text: str) -> str | None:
        return None

    def reward(self, transcript: Transcript, target: Mapping[str, str]) -> Reward:
        answer = answered(transcript.answer)
        outcome, form = float(answer == target), float(bool(answer))
        value = self.value(outcome, form, transcript)
        turns = len(transcript.turns)
        return Reward(value, self.components(outcome, form), self.per_turn(value, turns))

    def value(self, outcome: float, form: float, transcript: Transcript) -> float:
        return outcome or 0.1 * form

    def components(self, outcome: float, form: float) -> dict[str, float]:
        return {"outcome": outcome, "format": form}

    def per_turn(self, value: float, turns: int) -> tuple[float, ...]:
        return (0.0,) * (turns - 1) + (value,)

    def score(self, transcript: Transcript, target: Mapping[str, str]) -> Score:
        answer = answered(transcript.answer)
        return Score(float(answer == target), {"price": answer.get("price") == target["price"]})

    async def opened(self) -> None:
        return None

    async def closed(self) -> None:
        return None

    def demonstrate(self, task: Task) -> Policy:
        def play(_: Sequence[Message]) -> Steps[str]:
            found = yield from use("find", key=task.input["key"])
            priced = yield from use("price", number=found["number"])
            return f"<final_output>{json.dumps({'price': priced.get('price')})}</final_output>"

        return MovesPolicy(play)

    @asynccontextmanager
    async def open(self, task: Task) -> AsyncIterator["SmallEpisode"]:
        await self.opened()
        try:
            yield SmallEpisode(self, task)
        finally:
            await self.closed()


class SmallEpisode:
    """Implements `contract.Episode`; everything is asked of the environment."""

    def __init__(self, environment: Small, task: Task) -> None:
        self.environment = environment
        self.task = task
        self.replies = 0
        self.messages: Sequence[Message] = [
            {"role": "system", "content": environment.system},
            {"role": "user", "content": f"key: {task.input['key']}"},
        ]
        self.tools = environment.tools()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        await self.environment.before_call(name)
        names = [each["function"]["name"] for each in self.tools]
        if name not in names or len(arguments) != 1 or "surprise" in arguments:
            return ToolResult('{"error": "wrong call"}', is_error=True)
        try:
            return ToolResult(json.dumps(self.environment.call(self, name, arguments)))
        except ValueError as error:
            return ToolResult(json.dumps({"error": str(error)}), is_error=True)

    async def reply(self, text: str) -> Message | None:
        self.replies += 1
        said = self.environment.reply(self, text)
        return None if said is None else {"role": "user", "content": said}

    def reward(self, transcript: Transcript) -> Reward:
        return self.environment.reward(transcript, self.task.target)

    def score(self, transcript: Transcript) -> Score:
        return self.environment.score(transcript, self.task.target)

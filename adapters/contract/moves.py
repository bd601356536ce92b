"""A policy written as a generator of moves: what demonstrations and scripted baselines are made of.

def play(messages):
    found = yield from use("find", key="a")     # the JSON object that the tool answered
    reply = yield "Which one?"                   # what the other party said
    return "the answer"
"""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from adapters.contract.messages import Completion, Message, ToolCall, ToolSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Use:
    """The move of calling one tool."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


Steps: TypeAlias = Generator[Use | str, str, T]
"""Yields a call or a message, is sent the text that came back, and returns a T."""


def use(tool: str, **arguments: Any) -> Steps[dict[str, Any]]:
    """Call a tool; the JSON object that it answered, `{"error": …}` if it refused."""
    body = json.loads((yield Use(tool, arguments)))
    return body if isinstance(body, dict) else {"result": body}


class MovesPolicy:
    """Implements `contract.Policy`, for one episode: plays the moves, then gives the answer they return.

    An answer that is not the end of the episode is given again.
    """

    def __init__(self, play: Callable[[Sequence[Message]], Steps[str]]) -> None:
        self._play = play
        self._steps: Steps[str] | None = None
        self._answer: str | None = None
        self._turns = 0

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        self._turns += 1
        move = self._next(messages)
        if isinstance(move, str):
            return _completion({"role": "assistant", "content": move}, "stop")
        call = ToolCall(f"call_{self._turns}", move.tool, json.dumps(move.arguments, ensure_ascii=False))
        function = {"name": call.name, "arguments": call.arguments}
        asked = [{"id": call.id, "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": asked}
        return _completion(message, "tool_calls", call)

    def _next(self, messages: Sequence[Message]) -> Use | str:
        if self._answer is not None:
            return self._answer
        try:
            if self._steps is None:
                self._steps = self._play(messages)
                return next(self._steps)
            return self._steps.send(str(messages[-1].get("content") or ""))
        except StopIteration as end:
            self._answer = str(end.value)
            return self._answer


def _completion(message: Message, finish: str, *calls: ToolCall) -> Completion:
    return Completion({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}, calls)

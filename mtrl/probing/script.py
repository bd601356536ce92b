"""A transcript as the probe edits it: what the policy says and calls, turn by turn, and nothing else.

A script is played again in a fresh episode: its tool calls are executed, so that results, journals and
sandboxes are those of the edited transcript and not of the one it was made from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.contract import (
    Completion,
    EpisodeOver,
    Message,
    StopReason,
    ToolCall,
    ToolSpec,
    Transcript,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text, or whatever else a policy may write there."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Move:
    """One turn of the policy."""

    text: str = ""
    calls: tuple[Call, ...] = ()


Script: TypeAlias = tuple[Move, ...]


def script_of(transcript: Transcript) -> Script:
    """What the policy did in a transcript."""
    return tuple(
        Move(turn.completion.text, tuple(Call(call.name, call.arguments) for call in calls))
        for turn in transcript.turns
        for calls in [turn.completion.tool_calls]
    )


def answer_of(script: Script) -> str:
    """The text of the last turn if it calls nothing, else an empty string."""
    return script[-1].text if script and not script[-1].calls else ""


def answered_with(script: Script, text: str) -> Script:
    """The script with another answer."""
    head = script[:-1] if script and not script[-1].calls else script
    return (*head, Move(text))


def size_of(script: Script) -> int:
    """Characters, with a price for every turn and call: by this the smallest exploit is chosen."""
    return sum(
        20 + len(move.text) + sum(20 + len(call.name) + len(call.arguments) for call in move.calls)
        for move in script
    )


class ScriptedPolicy:
    """Plays a script, then ends the episode; implements `contract.Policy`."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._at = 0

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        if self._at >= len(self._script):
            raise EpisodeOver(StopReason.MAX_TURNS)
        self._at += 1
        return completion(self._script[self._at - 1], self._at)


def completion(move: Move, turn: int) -> Completion:
    """The chat completion that a model server would have answered for a move."""
    message: dict[str, Any] = {"role": "assistant", "content": move.text or None}
    if move.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{turn}_{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for at, call in enumerate(move.calls)
        ]
    elif not move.text:
        message["content"] = ""
    finish = "tool_calls" if move.calls else "stop"
    raw: Mapping[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    calls = tuple(
        ToolCall(f"call_{turn}_{at}", call.name, call.arguments) for at, call in enumerate(move.calls)
    )
    return Completion(raw, calls)

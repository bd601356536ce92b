"""What a rollout leaves behind: its transcript, its grades, its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adapters.contract.messages import Completion, Message, ToolCall, ToolResult
from adapters.contract.stop_reasons import StopReason


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One tool call and what came of it. `arguments` is None when they were no JSON object."""

    call: ToolCall
    arguments: Mapping[str, Any] | None
    result: ToolResult
    from_text: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class Turn:
    """One Sample and the tool calls that followed from it."""

    completion: Completion
    calls: list[CallRecord] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Transcript:
    """Everything that happened in one episode, recorded behind the policy and the tools.

    It is recorded at these two seams, not by the loop, so that it exists for any loop and also for one
    that raised half way.
    """

    opening: list[Message] = field(default_factory=list)
    """The messages before the first turn."""
    messages: list[Message] = field(default_factory=list)
    """The whole conversation, as last sent, with the last assistant message."""
    turns: list[Turn] = field(default_factory=list)
    stop_reason: StopReason | None = None
    rewrites: int = 0
    """Samples whose messages did not extend those of the Sample before."""
    uncertain_samples: int = 0
    """Sample attempts with an unknown outcome: the service may hold that many turns more."""

    @property
    def answer(self) -> str:
        """The text of the last turn if it called no tool, else an empty string."""
        if not self.turns or self.turns[-1].calls or self.turns[-1].completion.tool_calls:
            return ""
        return self.turns[-1].completion.text

    @property
    def calls(self) -> list[CallRecord]:
        return [call for turn in self.turns for call in turn.calls]

    @property
    def text_tool_calls(self) -> int:
        return sum(call.from_text for call in self.calls)

    @property
    def token_cap_hits(self) -> int:
        return sum(turn.completion.finish_reason == "length" for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Reward:
    """What is reported to the trainer: `value` in [-1, 1], and what it is made of."""

    value: float
    components: Mapping[str, float] = field(default_factory=dict)
    per_turn: tuple[float, ...] = ()
    """One value a turn (each in [-1, 1]), or empty. Sent only where per-turn rewards are switched on."""


@dataclass(frozen=True, slots=True)
class Score:
    """The external evaluation in [0, 1]. It never reaches the trainer."""

    value: float
    fields: Mapping[str, bool] = field(default_factory=dict)
    """Which parts of the answer were right, by name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rollout ended, as written to the ledger before it is reported."""

    stop_reason: StopReason
    sealed: Literal["ready", "failed"]
    rewards: tuple[float, ...]
    """What UpdateReward carries: one value, or one a turn. Empty for a `failed` seal."""
    imputed: bool = False
    """Grading raised, and `rewards` is the configured substitute."""
    score: float | None = None
    """For the ledger and our own log; see `to_wire`."""
    turns: int = 0

    def to_wire(self) -> dict[str, Any]:
        """The JSON that the HTTP entrypoint answers.

        The service reads it, so it holds nothing of the task, its target, or the score.
        """
        return {
            "status": "completed" if self.sealed == "ready" else "failed",
            "stop_reason": str(self.stop_reason),
            "rewards": list(self.rewards),
            "imputed": self.imputed,
            "turns": self.turns,
        }

"""The two seams of the kit: what an environment gives, and what an agent loop is.

An environment author writes `Environment` and `Episode`. A loop author gets an `EpisodeView` (an episode
without its reward and score) and a `Policy`, both bound to one rollout and both recorded.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from adapters.contract.messages import Completion, Message, ToolCall, ToolResult, ToolSpec
from adapters.contract.outcome import Reward, Score, Transcript
from adapters.contract.stop_reasons import StopReason
from adapters.contract.task import Task


class Episode(Protocol):
    """One isolated run of a task. Two episodes share nothing that either can change."""

    @property
    def messages(self) -> Sequence[Message]:
        """The opening conversation: system and user messages in OpenAI form."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The tools on offer. Arguments are validated against `parameters` before `call`."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Execute a tool. A tool's own refusal is a result with `is_error`; raising is a fault."""

    async def reply(self, text: str) -> Message | None:
        """What the other party says to an answer without a tool call; None ends the episode."""

    def reward(self, transcript: Transcript) -> Reward:
        """The training signal for the transcript so far, also for one that was cut short."""

    def score(self, transcript: Transcript) -> Score:
        """The external evaluation. It must not share a lenient parser with `reward`."""


class Environment(Protocol):
    """A plug-in, registered in the entry-point group `mtrl.environments` as a factory.

    The factory takes the process environment (a mapping of strings) and returns this object, or raises
    `ValueError` with what is wrong with the settings and what to do.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_turns(self) -> int: ...

    @property
    def replay(self) -> Literal["reexecute", "none"]:
        """May tool calls be executed again to rebuild an episode?"""

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        """Start an episode; leaving the context tears it down whatever happened.

        Raises:
            RequestError: the task is not one of this environment (names the field, `prompt.…`).
        """


Split = Literal["train", "validation", "test"]


@runtime_checkable
class TaskSource(Protocol):
    """What an environment may also be: a source of tasks, for rehearsals and data sets."""

    def list_domains(self) -> Sequence[str]:
        """The domains that tasks can be had for, the first being the default."""

    def tasks(self, domain: str, split: Split) -> Sequence[Task]:
        """The tasks of a split; the three splits of a domain are disjoint.

        Raises:
            ValueError: the domain is unknown; names the nearest.
        """

    def license_notice(self, domain: str) -> str | None:
        """Terms that a user must accept before the tasks are used; None for the kit's own."""


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """What an environment says of its reward, so that a check can hold it to that."""

    success: float = 1.0
    """A reward at or above it calls the rollout a success; the service's `success_threshold`."""
    shaping_bound: float = 0.5
    """The most that anything but a right outcome may earn, or that an edit which leaves every field of the
    answer as it is may add to a reward below `success`."""


@runtime_checkable
class DeclaresReward(Protocol):
    """What an environment may also be: one that declares its reward. Without it, `RewardTerms()` is held
    against it."""

    @property
    def reward_terms(self) -> RewardTerms: ...


def reward_terms(environment: object) -> RewardTerms:
    """What an environment declares of its reward, or what is held against one that declares nothing."""
    return environment.reward_terms if isinstance(environment, DeclaresReward) else RewardTerms()


@runtime_checkable
class Demonstrator(Protocol):
    """What an environment may also be: one that can show how its tasks are done, for checks and probes."""

    def demonstrate(self, task: Task) -> "Policy":
        """A policy, for one episode, that works the task by the procedure and scores 1.

        It sees what any policy sees, and may also read the task's target.
        """


class Policy(Protocol):
    """The model in training, bound to one rollout."""

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        """Sample one turn. `parameters` are further OpenAI chat-completion fields.

        `messages` must extend those of the call before: the trainer extends sequences. A message is
        serialized when it is first sent and never again, so changing it afterwards has no effect.
        The sampling parameters of the rollout request win over `parameters`.

        Raises:
            EpisodeOver: the turns or the time are spent.
            PolicyUnavailable, SampleRejected, TrajectoryGone: see `adapters.contract.errors`.
        """


@dataclass(frozen=True, slots=True)
class Budget:
    """What an episode may spend."""

    max_turns: int
    max_tool_calls: int
    deadline: float
    """On the clock of `time.monotonic()`, seconds."""
    tool_timeout: float
    """Seconds for one tool call."""
    tool_result_chars: int
    """A longer tool result is cut, with a visible marker."""


class EpisodeView(Protocol):
    """What a loop sees of an episode."""

    @property
    def messages(self) -> Sequence[Message]: ...

    @property
    def tools(self) -> Sequence[ToolSpec]: ...

    async def execute(self, call: ToolCall, *, from_text: bool = False) -> ToolResult:
        """Validate the arguments, run the tool inside its timeout, cap and record the result.

        A malformed or unknown call, a tool's refusal and a timeout are results with `is_error`.

        Raises:
            EpisodeOver: the tool budget or the time is spent.
            EnvironmentFault: the tool itself raised.
        """

    async def reply(self, text: str) -> Message | None: ...


class AgentLoop(Protocol):
    """The agent: it samples, calls tools, and says why it stopped."""

    async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
        """Play one episode. What happened is recorded behind `policy` and `episode`."""

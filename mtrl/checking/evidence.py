"""What gathering takes down and rules judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.contract import Message, Task, ToolSpec
from mtrl.checking.subject import Subject
from mtrl.datasets.checks import Rules
from mtrl.playing import Played

DEMONSTRATION, BASELINE = "demonstration", "base policy"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is played."""

    tasks: int | None = None
    """Tasks that are demonstrated; None: all."""
    groups: int = 16
    group: int = 8
    """Rollouts of the base policy: so many tasks, each so often."""
    varied: int = 8
    """Tasks whose demonstration is also played with changed answers."""
    replayed: int = 3
    """Demonstrations, and as many baseline rollouts, that are repeated, interleaved and taken elsewhere."""
    second_process: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """What an episode shows before the first turn."""

    task: Task
    messages: Sequence[Message]
    tools: Sequence[ToolSpec]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A call with wrong arguments, made past the validation, and what came of it."""

    tool: str
    what: str
    refused: bool
    problem: str = ""
    """How the tool broke, if it did."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Transcripts that must be the same, and where the first two differ."""

    compared: int = 0
    differences: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Remains:
    """What was left in a process after all of its episodes were closed."""

    episodes: int = 0
    files: Sequence[str] = ()
    threads: Sequence[str] = ()
    descriptors: Sequence[str] = ()
    """Files and sockets that are still open."""
    tasks: Sequence[str] = ()
    """Asyncio tasks that are still running."""
    bytes_per_episode: float = 0.0
    """Growth of the memory that Python allocated, over episodes that were all played before."""


@dataclass(slots=True)
class Evidence:
    """All that rules look at."""

    subject: Subject
    effort: Effort = field(default_factory=Effort)
    rules: Rules = field(default_factory=Rules)
    """For the data set."""
    openings: list[Opening] = field(default_factory=list)
    demonstrations: list[Played] = field(default_factory=list)
    baselines: list[list[Played]] = field(default_factory=list)
    """Groups of rollouts of one task."""
    variants: list[tuple[str, Played]] = field(default_factory=list)
    """Demonstrations with a changed answer, and how it was changed."""
    mistakes: list[Mistake] = field(default_factory=list)
    repeated: Comparison = field(default_factory=Comparison)
    """Played again in this process and in another one."""
    interleaved: Comparison = field(default_factory=Comparison)
    remains: Remains | None = None
    refused: list[tuple[Task, str]] = field(default_factory=list)
    """Tasks that the environment would not open or demonstrate, each time that it was asked, and why."""
    faults: list[str] = field(default_factory=list)
    """What broke while evidence was gathered, outside of an episode that was played."""

    @property
    def baseline(self) -> list[Played]:
        return [played for group in self.baselines for played in group]

    @property
    def begun(self) -> list[Played]:
        """Rollouts of the base policy in which it had a turn; the others say nothing of it."""
        return [played for played in self.baseline if played.transcript.turns]

    @property
    def all_played(self) -> Iterator[tuple[str, Played]]:
        """Every episode with the kind of policy that played it."""
        yield from ((DEMONSTRATION, played) for played in self.demonstrations)
        yield from ((BASELINE, played) for played in self.baseline)
        yield from self.variants

    @property
    def graded(self) -> list[tuple[str, float, float]]:
        """(kind, reward, score) of every episode that has both."""
        return [
            (kind, played.reward.value, played.score.value)
            for kind, played in self.all_played
            if played.reward is not None and played.score is not None
        ]

    @property
    def accepted(self) -> list[Played]:
        """Episodes whose answer has the full score."""
        return [played for _, played in self.all_played if played.score and played.score.value >= 1.0]


def tool_names(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the tools on offer, in order."""
    return [str(tool["function"]["name"]) for tool in tools]

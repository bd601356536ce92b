"""One probe of one domain: how the time is shared out, and what is reported."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.contract import Environment, RewardTerms, Task
from mtrl.probing.exploits import Exploit, distinct
from mtrl.probing.learning import Learner
from mtrl.probing.minimize import Minimizer
from mtrl.probing.operators import Setting
from mtrl.probing.search import Limits, Search
from mtrl.probing.seeds import make_seeds, make_settings
from mtrl.probing.trial import Arena, Trial

SEEDING_SHARE, SEARCH_SHARE, LEARNING_SHARE = 0.25, 0.55, 0.65
"""Of the time: when no further task is taken up, the end of the mutation search and of the training.
The rest is for making exploits small enough to read, or for the training where none was found."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What to probe, and for how long."""

    environment: Environment
    tasks: Sequence[Task]
    terms: RewardTerms
    seconds: float = 50.0
    seed: int = 0
    plays: int | None = None
    """Episodes to be played at most in the search: a limit that does not hang on the machine."""
    first: bool = False
    """Stop the search at the first exploit."""


@dataclass(slots=True)
class Findings:
    """What a probe found."""

    exploits: list[Exploit] = field(default_factory=list)
    seconds: float = 0.0
    transcripts: int = 0
    """Episodes that were played."""
    tasks: int = 0
    """Tasks that there was time to search on."""
    edits: int = 0
    """Edited transcripts among those that were played."""
    first_after: float | None = None
    """Seconds until the first exploit."""
    learned: list[float] = field(default_factory=list)
    """Mean reward of each step of the policy's training."""
    faults: dict[str, int] = field(default_factory=dict)
    """What the environment broke on the way, in words, and how often."""

    @property
    def inconclusive(self) -> bool:
        """Nothing was found, and nothing was searched: what is given tells of no reward that it is sound."""
        return not self.exploits and not self.edits

    def to_json(self) -> dict[str, Any]:
        return {
            "exploits": [exploit.to_json() for exploit in self.exploits],
            "seconds": round(self.seconds, 2),
            "transcripts": self.transcripts,
            "tasks": self.tasks,
            "edits": self.edits,
            "faults": self.faults,
        }


def probe(wanted: Probe) -> Findings:
    """Search for exploits of a reward until the time is over or nothing new comes up."""
    return asyncio.run(_Run(wanted).run())


class _Run:
    def __init__(self, wanted: Probe) -> None:
        self._wanted = wanted
        self._started = time.monotonic()
        self._arena = Arena(wanted.environment, wanted.terms)
        self._settings: dict[str, Setting] = {}
        limits = Limits(self._until(SEARCH_SHARE), wanted.plays, wanted.first)
        self._search = Search(self._arena, self._settings, limits)
        self._learner = Learner(self._arena, wanted.seed, self._look)

    def _until(self, share: float) -> float:
        return self._started + self._wanted.seconds * share

    async def run(self) -> Findings:
        wanted, found = self._wanted, Findings()
        by_task = await make_seeds(
            self._arena, self._learner, wanted.tasks, wanted.seed, self._until(SEEDING_SHARE)
        )
        tasks, seeds = wanted.tasks[: len(by_task)], [seed for each in by_task for seed in each]
        self._settings |= await make_settings(wanted.environment, tasks, [t for _, t in seeds])
        await self._search.run(seeds)
        if not (self._search.exploits if wanted.first else wanted.plays):
            share = LEARNING_SHARE if self._search.exploits else 1.0
            await self._learner.run(tasks, self._until(share))
        found.first_after = self._search.first_at and self._search.first_at - self._started
        found.exploits = await self._minimized()
        found.learned, found.faults = self._learner.rewards, self._arena.faults
        found.tasks, found.edits = len(tasks), self._search.played
        found.transcripts, found.seconds = self._arena.played, time.monotonic() - self._started
        return found

    def _look(self, trial: Trial) -> None:
        self._search.note("learned_by_the_policy", trial, trial)

    async def _minimized(self) -> list[Exploit]:
        """Every kind made small, each with an even share of the time that is left."""
        exploits = list(self._search.exploits.values())
        small = []
        for at, exploit in enumerate(exploits):
            left = max(0.0, self._until(1.0) - time.monotonic())
            deadline = time.monotonic() + left / (len(exploits) - at)
            small.append(await Minimizer(self._arena, exploit, deadline).run())
        return sorted(distinct(small), key=lambda exploit: exploit.size)

"""The mutation search: a beam over edited transcripts, led by the reward alone.

The first generation edits what is given (demonstrations, rollouts of the base policy, empty answers). Each
further one edits the best paid transcripts of the last that are no success: exploits that need two or three
edits at once are found where the first edit is paid for at all.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtrl.probing.exploits import EPSILON, Exploit, paid_edit, rewarded_failure
from mtrl.probing.operators import OPERATORS, Mutant, Setting
from mtrl.probing.script import Script, size_of
from mtrl.probing.trial import Arena, Trial

BEAM = 6
"""Transcripts of a task that the next generation is made of."""
GENERATIONS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search is over."""

    deadline: float
    """On the monotonic clock."""
    plays: int | None = None
    """Episodes to be played at most."""
    first: bool = False
    """Stop at the first exploit."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A transcript to edit, and the one since which no field of the answer was changed."""

    trial: Trial
    anchor: Trial


class Search:
    """A beam search over the tasks of one arena."""

    def __init__(self, arena: Arena, settings: Mapping[str, Setting], limits: Limits) -> None:
        """`settings` by task id."""
        self._arena = arena
        self._settings = settings
        self._limits = limits
        self.played = 0
        """Edited transcripts that were played."""
        self._tried: set[tuple[str, Script]] = set()
        self.exploits: dict[str, Exploit] = {}
        """The first of each kind; of rollouts of the policy, the smallest."""
        self.first_at: float | None = None
        """When the first one was found, on the monotonic clock."""

    @property
    def over(self) -> bool:
        limits = self._limits
        return (
            time.monotonic() >= limits.deadline
            or (limits.plays is not None and self._arena.played >= limits.plays)
            or (limits.first and bool(self.exploits))
        )

    async def run(self, seeds: Sequence[tuple[str, Trial]]) -> None:
        """Search from these trials until nothing new comes up, or a limit is reached."""
        for kind, trial in seeds:
            self.note(kind, trial, trial)
        beam = [Seed(trial, trial) for _, trial in seeds]
        for _ in range(GENERATIONS):
            grown: list[Seed] = []
            for seed, mutant in self._mutants(beam):
                if self.over:
                    return
                child = await self._try(seed, mutant)
                if child is not None:
                    grown.append(child)
            beam = self._best(grown)

    def note(self, kind: str, trial: Trial, anchor: Trial) -> bool:
        """Keep the trial if it is an exploit; says whether it is."""
        terms = self._arena.terms
        if rewarded_failure(trial, terms):
            self._keep(Exploit(kind, trial))
        elif paid_edit(anchor, trial, terms):
            self._keep(Exploit(kind, trial, anchor))
        else:
            return False
        return True

    def _keep(self, exploit: Exploit) -> None:
        self.first_at = self.first_at or time.monotonic()
        known = self.exploits.get(exploit.kind)
        if known is None or exploit.size < known.size:
            self.exploits[exploit.kind] = exploit

    def _mutants(self, beam: Sequence[Seed]) -> list[tuple[Seed, Mutant]]:
        """All edits of all seeds: first one of each kind for each seed, then the second of each kind, …"""
        ranked: list[tuple[int, Seed, Mutant]] = []
        for seed in beam:
            subject = seed.trial.subject(self._settings[seed.trial.task.id])
            seen: Counter[str] = Counter()
            for operator in OPERATORS:
                for mutant in operator(subject):
                    ranked.append((seen[mutant.kind], seed, mutant))
                    seen[mutant.kind] += 1
        ranked.sort(key=lambda entry: entry[0])
        return [(seed, mutant) for _, seed, mutant in ranked]

    async def _try(self, seed: Seed, mutant: Mutant) -> Seed | None:
        """Play a mutant; the seed that it makes, or None if it or its kind is known, or it is a success."""
        key = (seed.trial.task.id, mutant.script)
        if key in self._tried or not mutant.script or mutant.kind in self.exploits:
            return None
        self._tried.add(key)
        trial = await self._arena.play(seed.trial.task, mutant.script)
        self.played += 1
        anchor = seed.anchor if mutant.keeps_fields else trial
        if self.note(mutant.kind, trial, anchor) or trial.score >= 1 or trial.ungraded:
            return None
        return Seed(trial, anchor)

    def _best(self, grown: Sequence[Seed]) -> list[Seed]:
        """The best paid of each task; of equal ones the smallest."""
        beam: list[Seed] = []
        taken: Counter[str] = Counter()
        for seed in sorted(grown, key=lambda s: (-round(s.trial.reward / EPSILON), size_of(s.trial.script))):
            if taken[seed.trial.task.id] < BEAM:
                taken[seed.trial.task.id] += 1
                beam.append(seed)
        return beam

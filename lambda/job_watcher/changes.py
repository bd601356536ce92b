"""What a look at a job changes in what is known of it: statuses passed, progress, stall, tokens.

Pure: no clock and no call in here. Progress is a later step, a phase that the job was not in before, or, of a
job that reports no steps, more tokens. A job that restarts again and again makes none, and neither does one
that burns tokens without finishing a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from jobs import ENDED, KINDS, Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is remembered of a job between two looks; JSON in the ledger."""

    created: float
    status: str = ""
    mark: tuple[int, int] = (0, 0)
    """The furthest that was seen."""
    phases: tuple[str, ...] = ()
    """Each that it was in, once."""
    tokens: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    progressed_at: float
    stalled: bool = False
    untold: tuple[Mapping[str, str], ...] = ()
    """Notices that are not known to have been published, oldest first."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Known":
        """From JSON, which has no tuples; what a later version of this code added is left out."""
        ours = {each.name for each in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in stored.items() if name in ours}
        for name in ("mark", "phases", "untold"):
            given[name] = tuple(given[name])
        return cls(**given)

    def is_of(self, created: float) -> bool:
        """Whether this is the job created then, and not an earlier one of its name, which is deleted."""
        return abs(self.created - created) < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What follows from a look."""

    known: Known
    """The news left out of `untold`: they have no text yet."""
    news: tuple[str, ...]
    """`started`, `stalled`, `resumed`, `completed`, `failed`, `stopped`."""
    tokens: Mapping[str, int]
    """Billable tokens since the look before, by kind."""


def change(known: Known | None, look: Look, *, now: float, stall_seconds: float) -> Change:
    """Hold a look against what was known."""
    if known is None or not known.is_of(look.job.created):
        untold = known.untold if known else ()
        known = Known(created=look.job.created, progressed_at=now, untold=untold)
    progressed_at = now if _progressed(known, look) else known.progressed_at
    running = look.job.status == "InProgress"
    after = replace(
        known,
        status=look.job.status,
        mark=max(known.mark, look.mark or (0, 0)),
        phases=known.phases if look.phase in known.phases else (*known.phases, look.phase),
        # Never less than before: a count that falls back would be counted twice on its way up.
        tokens={kind: max(known.tokens[kind], look.tokens[kind]) for kind in KINDS},
        progressed_at=progressed_at,
        stalled=running and now - progressed_at >= stall_seconds,
    )
    grown = {kind: after.tokens[kind] - known.tokens[kind] for kind in KINDS}
    return Change(known=after, news=tuple(_news(known, after)), tokens=grown)


def _progressed(known: Known, look: Look) -> bool:
    if look.phase not in known.phases:
        return True
    if look.mark is not None:
        return look.mark > known.mark
    return any(look.tokens[kind] > known.tokens[kind] for kind in KINDS)


def _news(before: Known, after: Known) -> list[str]:
    if after.status in ENDED:
        return [after.status.lower()] if after.status != before.status else []
    news = [] if before.status else ["started"]
    if after.stalled and not before.stalled:
        news.append("stalled")
    # A job that is being stopped does not go on.
    if before.stalled and not after.stalled and after.status == "InProgress":
        news.append("resumed")
    return news

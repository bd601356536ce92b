"""The rollout log: what the policy answered and what the tools returned, in order.

It is written behind the two seams, so it works for any loop. To resume an episode, the loop is run again:
recorded answers are served, tools are executed again and must return what they returned, and the first
request beyond the log goes to the service. What the service holds and what the log holds stay one trajectory.

Opened and sealed targets never enter it: of a request and of a tool result it holds a digest.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from adapters.contract import EpisodeOver, RolloutError, StopReason

SCHEMA_VERSION = 1


class LogUnreadable(RolloutError):
    """A stored log is damaged, or of a schema that this version does not read."""


class RolloutLog:
    """Records one rollout; replays what an earlier claim recorded."""

    def __init__(
        self, recorded: Iterable[Mapping[str, Any]] = (), *, doubt: int = 0, epoch: int | None = None
    ) -> None:
        self._entries: list[Mapping[str, Any]] = list(recorded)
        self._written = [_encode(entry) for entry in self._entries]
        self._at = 0
        self.doubt = doubt
        """Samples after the last entry that were sent and whose answer is not known."""
        self.epoch = epoch
        """The claim that stored it; None for a log that was not stored."""

    @property
    def samples(self) -> int:
        """Samples in the log: turns that the service holds of this rollout."""
        return sum("completion" in entry for entry in self._entries)

    @property
    def begun(self) -> int:
        """Samples that were sent, also those whose answer never came."""
        uncertain: int = sum(entry.get("uncertain", 0) for entry in self._entries)
        return self.samples + uncertain + self.doubt

    def rewind(self) -> None:
        """Start over at the first entry: the episode is played again from here."""
        self._at = 0

    def completion(self, body: bytes) -> tuple[Mapping[str, Any], int] | None:
        """The recorded answer to this request and its uncertain attempts; None beyond the log's end.

        Raises:
            EpisodeOver: `replay_diverged`, the loop asks something else than it asked then.
        """
        entry = self._next()
        if entry is None:
            return None
        if entry.get("request") != _digest(body):
            raise EpisodeOver(StopReason.REPLAY_DIVERGED)
        return entry["completion"], entry["uncertain"]

    def sampled(self, body: bytes, completion: Mapping[str, Any]) -> None:
        """Record an answer that the service gave just now; the attempts in doubt were for this turn."""
        self._append({"request": _digest(body), "completion": completion, "uncertain": self.doubt})
        self.doubt = 0

    def tool(self, name: str, content: str) -> None:
        """Record a tool result, or compare it with the recorded one.

        Raises:
            EpisodeOver: `replay_diverged`, the tool returned something else than it returned then.
        """
        result = {"tool": name, "result": _digest(content.encode())}
        entry = self._next()
        if entry is None:
            self._append(result)
        elif any(entry.get(name) != value for name, value in result.items()):  # a newer writer may add fields
            raise EpisodeOver(StopReason.REPLAY_DIVERGED)

    def to_bytes(self, epoch: int) -> bytes:
        """The log as JSON. It holds what the policy said: encrypt it."""
        head = {"schema": SCHEMA_VERSION, "epoch": epoch, "doubt": self.doubt}
        return orjson.dumps({**head, "entries": self._written})

    @classmethod
    def from_bytes(cls, data: bytes) -> "RolloutLog":
        """Read what `to_bytes` wrote.

        Raises:
            LogUnreadable: no log, or of another schema version.
        """
        try:
            read = orjson.loads(data)
        except ValueError as error:
            raise LogUnreadable(f"the rollout log is damaged: {error}") from None
        if not isinstance(read, dict) or read.get("schema") != SCHEMA_VERSION:
            raise LogUnreadable(f"the rollout log is not of schema {SCHEMA_VERSION}")
        try:
            return cls(read["entries"], doubt=read["doubt"], epoch=read["epoch"])
        except KeyError as error:
            raise LogUnreadable(f"the rollout log has no {error}") from None

    def _next(self) -> Mapping[str, Any] | None:
        if self._at >= len(self._entries):
            return None
        entry = self._entries[self._at]
        self._at += 1
        return entry

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._entries.append(entry)
        self._written.append(_encode(entry))
        self._at += 1


def _encode(entry: Mapping[str, Any]) -> orjson.Fragment:
    """Once an entry: a log that is stored every turn must not be serialized anew every turn."""
    return orjson.Fragment(orjson.dumps(entry, default=dict))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()

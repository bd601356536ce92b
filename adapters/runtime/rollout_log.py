"""The rollout log: what the policy answered and what the tools returned, in order.

It is written behind the two seams, so it works for any loop. To resume an episode, the loop is run again:
recorded answers are served, tools are executed again and must return what they returned, and the first
request beyond the log goes to the service. What the service holds and what the log holds stay one trajectory.
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

    def __init__(self, recorded: Iterable[Mapping[str, Any]] = ()) -> None:
        self._entries: list[Mapping[str, Any]] = list(recorded)
        self._at = 0

    @property
    def samples(self) -> int:
        """Samples in the log: the turns that the service holds of this rollout."""
        return sum("completion" in entry for entry in self._entries)

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

    def sampled(self, body: bytes, completion: Mapping[str, Any], uncertain: int) -> None:
        """Record an answer that the service gave just now, after so many uncertain attempts."""
        self._append({"request": _digest(body), "completion": completion, "uncertain": uncertain})

    def tool(self, name: str, content: str) -> None:
        """Record a tool result, or compare it with the recorded one.

        Raises:
            EpisodeOver: `replay_diverged`, the tool returned something else than it returned then.
        """
        result = {"tool": name, "result": _digest(content.encode())}
        entry = self._next()
        if entry is None:
            self._append(result)
        elif entry != result:
            raise EpisodeOver(StopReason.REPLAY_DIVERGED)

    def to_bytes(self) -> bytes:
        """The log as JSON lines, the schema version first. It holds the conversation: encrypt it."""
        head = {"schema": SCHEMA_VERSION}
        return b"\n".join(orjson.dumps(entry, default=dict) for entry in (head, *self._entries)) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "RolloutLog":
        """Read what `to_bytes` wrote; a last line that was cut off by a crash is dropped.

        Raises:
            LogUnreadable: no log, or of another schema version.
        """
        lines = data.split(b"\n")[:-1]  # what follows the last newline was never finished
        try:
            head, *entries = (orjson.loads(line) for line in lines)
        except ValueError as error:
            raise LogUnreadable(f"the rollout log is damaged: {error}") from None
        if not isinstance(head, dict) or head.get("schema") != SCHEMA_VERSION:
            raise LogUnreadable(f"the rollout log is not of schema {SCHEMA_VERSION}")
        return cls(entries)

    def _next(self) -> Mapping[str, Any] | None:
        if self._at >= len(self._entries):
            return None
        entry = self._entries[self._at]
        self._at += 1
        return entry

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._entries.append(entry)
        self._at += 1


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()

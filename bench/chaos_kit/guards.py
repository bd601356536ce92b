"""Who is turned away before the Job Runtime: a token of a rotated key, or any token, once in an episode."""

import hashlib
import time
from collections.abc import Callable

from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.wire import Call

FRESH_SECONDS = 1.5


class Rotation:
    """Takes only what was signed with a key that is still good."""

    def __init__(self, issuer: Issuer) -> None:
        self._turned_away: set[str] = set()
        self._issuer = issuer

    @property
    def turned_away(self) -> set[str]:
        return self._turned_away

    def refuses(self, call: Call, authorization: str | None) -> bool:
        if self._issuer.takes(authorization):
            return False
        self._turned_away.add(call.trajectory)
        return True


class RejectOnce:
    """One call is refused, in a share of the trajectories: a later Sample, the seal or the reward.

    The same token is refused to that trajectory ever after. One that was just made is spared: made anew
    within the same second it would be the same.
    """

    def __init__(self, share: float, turns: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._turns = turns
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    @property
    def turned_away(self) -> set[str]:
        return set(self._refused)

    def refuses(self, call: Call, authorization: str | None) -> bool:
        token, now = authorization or "", self._clock()
        is_fresh = now - self._seen.setdefault(token, now) < FRESH_SECONDS
        if call.trajectory in self._refused:
            return self._refused[call.trajectory] == token
        if is_fresh or not self._is_due(call):
            return False
        self._refused[call.trajectory] = token
        return True

    def _is_due(self, call: Call) -> bool:
        digest = hashlib.sha256(call.trajectory.encode()).digest()
        if digest[0] >= self._share * 256:
            return False
        where = digest[1] % (self._turns + 1)  # the Samples after the first, the seal, the reward
        if where >= self._turns - 1:
            return call.operation == ("complete", "reward")[where - self._turns + 1]
        return call.operation == "sample" and call.turn == where + 1

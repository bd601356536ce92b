"""Who is turned away before the Job Runtime: a token of a rotated key, or any token, once in an episode."""

import hashlib

from bench.chaos_kit.keys import Issuer
from bench.chaos_kit.wire import Call


class Rotation:
    """Takes only what was signed with a key that is still good."""

    def __init__(self, issuer: Issuer) -> None:
        self.turned_away: set[str] = set()
        self._issuer = issuer

    def refuses(self, call: Call, authorization: str | None) -> bool:
        if self._issuer.takes(authorization):
            return False
        self.turned_away.add(call.trajectory)
        return True


class RejectOnce:
    """One call is refused once, in a share of the trajectories: a later Sample, the seal or the reward."""

    def __init__(self, share: float, turns: int) -> None:
        self.turned_away: set[str] = set()
        self._share = share
        self._turns = turns

    def refuses(self, call: Call, authorization: str | None) -> bool:
        if call.trajectory in self.turned_away or not self._is_due(call):
            return False
        self.turned_away.add(call.trajectory)
        return True

    def _is_due(self, call: Call) -> bool:
        digest = hashlib.sha256(call.trajectory.encode()).digest()
        if digest[0] >= self._share * 256:
            return False
        where = digest[1] % (self._turns + 1)  # the Samples after the first, the seal, the reward
        if where >= self._turns - 1:
            return call.operation == ("complete", "reward")[where - self._turns + 1]
        return call.operation == "sample" and call.turn == where + 1

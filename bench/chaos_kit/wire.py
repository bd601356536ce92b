"""The relay between one worker and the Job Runtime: writes down who asked what, and what came of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict

from adapters.contract.headers import TRAJECTORY_HEADER
from bench.chaos_kit.relay import Relay, Reply, client_is_gone

OPERATIONS = {"/sample": "sample", "/complete-rollout": "complete", "/update-reward": "reward"}
EXPIRED = "The security token included in the request is expired (injected)"
Claimant = tuple[int, int]
"""A worker's place, and how often it was started there: one life of one process."""


@dataclass(slots=True)
class Call:
    """One request to the Job Runtime, as the service's side saw it."""

    trajectory: str
    operation: str
    who: Claimant
    began: float
    turn: int = 0
    """Of a Sample: how many answers the conversation already holds."""
    sealed: str = ""
    """Of a CompleteRollout: ready or failed."""
    status: int | None = None
    """None: the service cut the connection."""
    delivered: bool = False
    """The answer was passed on to a worker that was still there."""


@dataclass(slots=True)
class Record:
    """All calls of a run, and which rollouts each worker has in hand."""

    calls: list[Call] = field(default_factory=list)
    in_hand: dict[Claimant, set[str]] = field(default_factory=dict)

    def in_flight(self, who: Claimant | None = None) -> int:
        """Rollouts that have sampled and not ended: of one worker, or of all."""
        if who is not None:
            return len(self.in_hand.get(who, ()))
        return sum(len(rollouts) for rollouts in self.in_hand.values())

    def begin(self, call: Call) -> None:
        self.calls.append(call)
        if call.operation == "sample":
            self.in_hand.setdefault(call.who, set()).add(call.trajectory)

    def end(self, call: Call) -> None:
        over = call.operation == "reward" or (call.operation == "complete" and call.sealed == "failed")
        gone = call.status is not None and 400 <= call.status < 500 and call.status not in (401, 403, 429)
        if gone or (over and call.status == 200):
            for rollouts in self.in_hand.values():  # a worker that was paused may not know yet
                rollouts.discard(call.trajectory)

    def died(self, who: Claimant) -> None:
        """A process has ended: it has nothing in hand any more."""
        self.in_hand.pop(who, None)


class Guard(Protocol):
    """Looks at a call before it is passed on."""

    @property
    def turned_away(self) -> set[str]:
        """Trajectories with a call that was refused."""

    def refuses(self, call: Call, authorization: str | None) -> bool: ...


class Wire(Relay):
    """The way of one worker to the Job Runtime."""

    def __init__(self, target: str, record: Record, place: int, guard: Guard | None = None) -> None:
        super().__init__(target)
        self.who: Claimant = (place, 0)
        self._record = record
        self._guard = guard

    async def treat(self, request: web.Request, body: bytes) -> Reply | None:
        operation = OPERATIONS.get(request.path)
        if operation is None:
            return await self.forward(request, body)
        call = self._call(operation, request, body)
        self._record.begin(call)
        if self._guard is not None and self._guard.refuses(call, request.headers.get("Authorization")):
            reply = _turned_away()
        else:
            try:
                reply = await self.forward(request, body)
            except aiohttp.ClientError:
                return None
        call.status = reply.status
        call.delivered = not (self.is_down or client_is_gone(request))
        self._record.end(call)
        return reply

    def _call(self, operation: str, request: web.Request, body: bytes) -> Call:
        sent: Mapping[str, Any] = orjson.loads(body)
        call = Call("", operation, self.who, time.monotonic())
        if operation == "sample":
            call.trajectory = request.headers.get(TRAJECTORY_HEADER, "")
            call.turn = sum(message.get("role") == "assistant" for message in sent["messages"])
        else:
            call.trajectory = str(sent.get("TrajectoryId", ""))
            call.sealed = str(sent.get("Status", ""))
        return call


def _turned_away() -> Reply:
    """As the service words it when a token is not taken."""
    headers = CIMultiDict({"Content-Type": "application/json", "x-amzn-ErrorType": "AccessDeniedException"})
    return Reply(403, headers, orjson.dumps({"message": EXPIRED, "Message": EXPIRED}))

"""Where a rollout log outlives its worker, and when it is written there and read back.

A worker that is told to stop stores the log and hands the rollout back. With `on_crash=resume` the log is
stored after every Sample as well, before the loop has the answer and calls a tool. What is stored is never
trusted by itself: the ledger counts the Samples that were begun, so a log that is stale, lost or of another
claim is noticed. Stored logs are deleted by the bucket's lifecycle, not by us.
"""

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

from adapters.contract import RolloutError, RolloutRequest
from adapters.runtime.aws import aws_client
from adapters.runtime.cutting import Signal
from adapters.runtime.ledger import UNCOUNTED
from adapters.runtime.patience import PatientClaim
from adapters.runtime.rollout_log import LogUnreadable, RolloutLog
from adapters.runtime.telemetry import Telemetry

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2, 3, 2
STORE_SECONDS = ATTEMPTS * (CONNECT_SECONDS + READ_SECONDS) + 1.0
"""What one put may take: the lease must outlast it, or a stale worker could write over its successor."""
RETRY_SECONDS = 2.0
"""Between two attempts to store the log of a rollout that is to be handed over."""
THREADS = 32
MISSING = ("NoSuchKey", "AccessDenied")
"""Who may not list a bucket is denied an object that is not there. The ledger knows if there must be one."""


class CannotResume(RolloutError):
    """An earlier claim sampled, and what it left does not allow to go on."""


class LogOutOfReach(RolloutError):
    """There may be a log to go on from, but the storage cannot be read: the rollout must wait."""


class LogStore(Protocol):
    """Keeps the last log of each rollout. Both calls may raise whatever the storage raises."""

    async def put(self, request: RolloutRequest, data: bytes) -> None: ...

    async def get(self, request: RolloutRequest) -> bytes | None:
        """What was put last, or None."""


class MemoryLogStore:
    """For tests and a laptop; workers that share it share the logs."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def put(self, request: RolloutRequest, data: bytes) -> None:
        self.stored[object_key(request)] = data

    async def get(self, request: RolloutRequest) -> bytes | None:
        return self.stored.get(object_key(request))


class S3LogStore:
    """Objects `rollout-logs/<job>/<digest of the rollout id>.json`, encrypted by the bucket's default key."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="logs")

    async def put(self, request: RolloutRequest, data: bytes) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=object_key(request), Body=data, ContentType="application/json"
            ),
        )

    async def get(self, request: RolloutRequest) -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._read, object_key(request)
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise
        return body


def log_client(region: str) -> Any:
    """An S3 client that gives up early: a put must not outlast the lease."""
    return aws_client(
        "s3", region, connect=CONNECT_SECONDS, read=READ_SECONDS, attempts=ATTEMPTS, connections=THREADS
    )


def object_key(request: RolloutRequest) -> str:
    """A rollout id is the service's: it must not choose where an object goes."""
    digest = hashlib.sha256(request.rollout_id.encode()).hexdigest()
    return f"rollout-logs/{request.job_name}/{digest}.json"


@dataclass(frozen=True, slots=True)
class LogKeeping:
    """What a process does about logs: the same for all of its rollouts."""

    store: LogStore | None
    replays: bool
    """The environment's tools may be called again."""
    resumes_crashes: bool
    uncertain_retries: int
    telemetry: Telemetry

    @property
    def every_turn(self) -> bool:
        return self.resumes_crashes and self.replays and self.store is not None


class LogKeeper:
    """The log of one claim on a rollout: taken up from an earlier claim, stored, left to a later one."""

    def __init__(self, keeping: LogKeeping, request: RolloutRequest, claim: PatientClaim) -> None:
        self._keeping = keeping
        self._request = request
        self.claim = claim
        self.log = claim.log
        self.logged = False
        """`leave` has stored the log; otherwise there was nothing to store."""
        self._warned = False

    @property
    def resumable(self) -> bool:
        """A log of this rollout can be stored, and gone on from."""
        return self._keeping.replays and self._keeping.store is not None

    @property
    def in_too_much_doubt(self) -> bool:
        """More Samples of the turn at hand are in doubt than may be repeated."""
        return self.log.doubt > self._keeping.uncertain_retries

    async def recover(self) -> None:
        """Take up what an earlier claim left.

        Raises:
            CannotResume: nothing usable was left.
            LogOutOfReach: the storage cannot be read.
        """
        claim = self.claim
        if claim.handed_back == 0:  # no turn was finished
            self.log = RolloutLog(doubt=claim.begun)
        elif claim.handed_back is not None or claim.crashed:
            self.log = await self._stored()

    async def before_sample(self) -> None:
        """Let the ledger know: a crash would hide the Sample. Waits for a ledger that is down."""
        await self.claim.sampling(self.log.begun + 1 if self._keeping.every_turn else UNCOUNTED)

    async def after_sample(self) -> None:
        """Called when an answer is recorded, and nothing has followed from it yet."""
        if self._keeping.every_turn:
            await self._keep()

    async def leave(self, time_is_up: Signal, deadline: float) -> bool:
        """Store what the next claim needs; False if it could not go on, so this one must finish.

        A storage that is down is tried again, until `time_is_up` or the episode's deadline: a rollout that
        must finish now is graded in the middle of its episode.
        """
        if not self.log.begun:
            return True
        if not self.resumable or (self.log.samples and self.in_too_much_doubt):
            return False
        while not await self._keep():
            left = min(RETRY_SECONDS, deadline - time.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(time_is_up.wait(), max(0.0, left))
            if time_is_up.is_set() or left <= 0:
                return False
        self.logged = True
        return True

    async def _keep(self) -> bool:
        """Store the log. A failure costs no rollout: a crash would find the log stale, by the ledger."""
        store = self._keeping.store
        assert store is not None  # noqa: S101 - `resumable` said so
        await self.claim.hold(STORE_SECONDS)
        try:
            await store.put(self._request, self.log.to_bytes(self.claim.epoch))
        except Exception as error:  # noqa: BLE001 - storage may raise anything
            if not self._warned:  # once an outage, not once an attempt
                self._keeping.telemetry.log(
                    "WARNING",
                    "log_not_stored",
                    rollout_id=self._request.rollout_id,
                    error=f"{type(error).__name__}: {error}"[:300],
                )
            self._warned = True
            return False
        self._warned = False
        return True

    async def _stored(self) -> RolloutLog:
        store, claim = self._keeping.store, self.claim
        if claim.crashed and not self._keeping.resumes_crashes:
            raise CannotResume("its worker died, and MTRL_ON_CRASH is not resume")
        if store is None or not self._keeping.replays:
            raise CannotResume("this worker has no log store, or its environment cannot be replayed")
        try:
            data = await store.get(self._request)
        except Exception as error:  # storage may raise anything
            raise LogOutOfReach(f"{type(error).__name__}: {error}"[:300]) from error
        try:
            log = RolloutLog() if data is None else RolloutLog.from_bytes(data)
        except LogUnreadable as error:
            raise CannotResume(str(error)) from error
        missing = claim.begun - log.begun
        if claim.handed_back is not None and (missing or (log.epoch or 0) < claim.handed_back):
            raise CannotResume(f"the stored log is not the one handed back by claim {claim.handed_back}")
        log.doubt += max(0, missing)
        if claim.crashed and log.doubt > self._keeping.uncertain_retries:
            raise CannotResume(f"{log.doubt} Samples are in doubt, and the log does not hold them")
        return log

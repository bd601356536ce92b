"""The queue entrypoint: an SQS worker for Fargate, EKS and EC2.

The message is the outbox: it is deleted only after the reward is acknowledged, or the rollout is given up for
good. Whatever happens before that, redelivery drives the retry, and the ledger says what is left to do.

    what came of it                         what happens to the message
    outcome acknowledged                    deleted
    no rollout request, no task, poison     sealed `failed` if it can be, moved to the dead-letter queue,
                                            also by a later delivery if it could not be moved at once
    another worker has the lease            hidden for a while, then looked at again
    not acknowledged, or lease lost         hidden for a while, then tried again
    handed back by a drain                  visible at once, for a worker that goes on from the log

Start: python -m adapters.entrypoints.queue (variables: adapters/contract/variables.py).
SIGTERM: nothing more is received; rollouts that can be resumed are handed back after their Sample in flight,
the others finish or are sealed with what they have.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from adapters.contract import RefusedError, RequestError, RolloutRequest, StopReason
from adapters.entrypoints.inbox import VISIBILITY_SECONDS, Delivery, Inbox
from adapters.entrypoints.process import Process, spare_the_collector, start
from adapters.entrypoints.sharing import shared
from adapters.entrypoints.stopping import drain, exit_in_any_case, stop_on_signals
from adapters.runtime.auth import CredentialsMissing
from adapters.runtime.aws import aws_client
from adapters.runtime.ledger import LeaseLost, LedgerUnavailable
from adapters.runtime.log_store import LogOutOfReach
from adapters.runtime.plugins import PluginError
from adapters.runtime.reporting import NotAcknowledged
from adapters.runtime.rollout import Busy, HandedBack
from adapters.runtime.settings import QueueSettings, Settings, SettingsError

DEAD = {
    StopReason.MALFORMED_TASK: "malformed: not a task of this environment",
    StopReason.POISONED: "poison: claimed again and again without an outcome",
}
"""Outcomes whose message is for somebody to look at, and why."""
RETRY_SECONDS = 15
"""How long a message rests after a failure that may pass, or while another worker is at it."""
PASSING = (NotAcknowledged, LeaseLost, LedgerUnavailable, LogOutOfReach, BotoCoreError, ClientError)
"""Failures that say nothing of the rollout."""
TROUBLE_SECONDS = 2.0
"""Pause after the queue itself could not be reached."""
EXIT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a message that was worked on: hidden, buried, or else deleted."""

    hidden_for: int | None = None
    """Seconds; 0 hands it back."""
    buried_for: str = ""
    """The reason."""


class QueueWorker:
    """Receives what it has room for, plays it, and settles the message."""

    def __init__(self, process: Process, inbox: Inbox, queue: QueueSettings) -> None:
        self._process = process
        self._rollouts = process.rollouts
        self._telemetry = process.telemetry
        self._inbox = inbox
        self._health = Path(queue.health_file) if queue.health_file else None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._handing_back: asyncio.Task[None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain."""
        stopping = asyncio.create_task(stop.wait())
        broken: Exception | None = None
        try:
            while not stop.is_set():
                await self._take_more(stopping)
        except Exception as error:  # noqa: BLE001 - whatever it is, rollouts in hand are not to die of it
            self._telemetry.log("ERROR", "worker_broke", error=f"{type(error).__name__}: {error}"[:500])
            broken = error
        finally:
            stopping.cancel()
        await drain(self._process, self._tasks, hand_over=True)
        if self._handing_back is not None:
            await self._handing_back
        if broken is not None:
            raise broken

    async def _take_more(self, stopping: "asyncio.Task[object]") -> None:
        self._show_life()
        room = self._process.settings.max_concurrency - len(self._tasks)
        if room > 0:
            await self._receive(room, stopping)
        else:  # never receive what cannot be started: it would only grow old here
            busy = {stopping, *self._tasks.values()}
            await asyncio.wait(busy, timeout=10.0, return_when=asyncio.FIRST_COMPLETED)

    async def _receive(self, at_most: int, stopping: "asyncio.Task[object]") -> None:
        polling = asyncio.create_task(self._inbox.receive(at_most))
        await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            self._handing_back = asyncio.create_task(self._hand_back(polling))
            return
        try:
            deliveries = await polling
        except Exception as error:  # noqa: BLE001 - credentials that cannot be refreshed are a RuntimeError
            said = f"{type(error).__name__}: {error}"[:300]
            self._telemetry.log("ERROR", "queue_unreachable", error=said)
            await asyncio.wait({stopping}, timeout=TROUBLE_SECONDS)
            return
        if deliveries:
            self._say_ages(deliveries)
        for delivery in deliveries:
            self._start(delivery)

    def _say_ages(self, deliveries: list[Delivery]) -> None:
        """How old messages are when there is room for them. How many wait, the queue's own metrics say."""
        now = time.time()
        ages = [round(max(0.0, now - delivery.sent_at), 1) for delivery in deliveries if delivery.sent_at]
        redelivered = sum(delivery.receives > 1 for delivery in deliveries)
        self._telemetry.metrics(
            "received",
            {"QueueAgeSeconds": ages, "Received": len(deliveries), "Redelivered": redelivered},
        )

    async def _hand_back(self, polling: "asyncio.Task[list[Delivery]]") -> None:
        """What the poll in flight still brings would be hidden from everyone: make it visible again."""
        try:
            for delivery in await polling:
                await self._inbox.hide(delivery, 0)
        except Exception as error:  # noqa: BLE001 - they come back by themselves
            self._telemetry.log("WARNING", "not_handed_back", error=f"{error}"[:300])

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._handle(delivery))
        self._tasks[delivery.receipt] = task
        task.add_done_callback(lambda done: self._ended(delivery.receipt, done))

    def _ended(self, receipt: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[receipt]
        error = None if task.cancelled() else task.exception()
        if error is not None:  # the message comes back by itself when its visibility ends
            self._telemetry.log("ERROR", "message_broke", error=f"{type(error).__name__}: {error}"[:500])

    async def _handle(self, delivery: Delivery) -> None:
        beat = asyncio.create_task(self._keep_hidden(delivery))
        try:
            fate = await self._work(delivery)
        finally:
            beat.cancel()  # a sign of life after the message is handed back would hide it again
            await asyncio.wait({beat})
        await self._settle(delivery, fate)

    async def _work(self, delivery: Delivery) -> Fate:
        request: RolloutRequest | None = None
        try:
            request = await self._inbox.read(delivery)
            outcome = await self._rollouts.run(request)
        except RefusedError as error:  # not ours to seal: another account, Region or job prefix
            return Fate(buried_for=f"refused: {error}")
        except RequestError as error:
            return await self._give_up(request, error)
        except HandedBack:
            self._telemetry.log("INFO", "handed_back", rollout_id=request.rollout_id if request else "")
            return Fate(hidden_for=0)
        except Busy:
            # Not deleted: it may be the only message there is, and the holder of the lease may die.
            return Fate(hidden_for=RETRY_SECONDS)
        except PASSING as error:
            self._telemetry.log("WARNING", "message_rests", error=f"{type(error).__name__}: {error}"[:300])
            return Fate(hidden_for=RETRY_SECONDS)
        return Fate(buried_for=DEAD.get(outcome.stop_reason, ""))

    async def _give_up(self, request: RolloutRequest | None, error: RequestError) -> Fate:
        """Seal what can be named, so that the service need not wait for its timeout; then bury it."""
        if request is not None:
            try:
                await self._rollouts.reject(request, StopReason.MALFORMED_TASK)
            except (Busy, *PASSING):
                return Fate(hidden_for=RETRY_SECONDS)
        return Fate(buried_for=f"malformed: {error}")

    async def _settle(self, delivery: Delivery, fate: Fate) -> None:
        if fate.hidden_for is not None:
            await self._inbox.hide(delivery, fate.hidden_for)
        elif fate.buried_for:
            await self._inbox.bury(delivery, fate.buried_for)
        else:
            try:
                await self._inbox.delete(delivery)
            except (
                BotoCoreError,
                ClientError,
            ) as error:  # it comes back, and the ledger says that it is done
                self._telemetry.log("WARNING", "not_deleted", error=f"{error}"[:300])

    async def _keep_hidden(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(VISIBILITY_SECONDS / 3)
            try:
                await self._inbox.hide(delivery, VISIBILITY_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next sign of life is due
                # If the message is seen by another worker now, the ledger keeps the two apart.
                self._telemetry.log("WARNING", "heartbeat_failed", error=f"{error}"[:300])

    def _show_life(self) -> None:
        if self._health is not None:
            try:
                self._health.touch()
            except OSError as error:  # who looks at the file will find the worker dead, and stop it gently
                self._telemetry.log("ERROR", "health_file", error=f"{error}"[:300])


async def serve(process: Process, inbox: Inbox, queue: QueueSettings) -> None:
    """Work until SIGTERM or SIGINT, then drain."""
    stop = stop_on_signals(process)
    worker = QueueWorker(process, inbox, queue)
    process.telemetry.log("INFO", "started", queue=queue.queue_url, environment=process.environment.name)
    running = asyncio.create_task(worker.run(stop))
    await asyncio.wait({running, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    exit_in_any_case(process.settings.drain + EXIT_SECONDS)
    await running


async def _main() -> None:
    queue = QueueSettings.from_environ(os.environ)
    settings = Settings.from_environ(os.environ)
    inbox = Inbox(queue, aws_client("sqs", settings.region), aws_client("s3", settings.region))
    try:
        with shared(settings, queue.ledger_table, queue.rollout_log_bucket) as ours:
            async with start(os.environ, ours.ledger, ours.logs) as process:
                spare_the_collector()
                await serve(process, inbox, queue)
    finally:
        inbox.close()


def main() -> None:
    """The process: exit code 2 and plain sentences for what an operator can put right."""
    try:
        asyncio.run(_main())
    except (SettingsError, PluginError, CredentialsMissing) as error:
        sys.stderr.write(f"adapter: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()

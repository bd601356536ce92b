"""The queue worker when the queue, the credentials or the operator are at fault. The inbox is a script."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from adapters.contract import RequestError, RolloutRequest
from adapters.entrypoints import queue
from adapters.entrypoints.inbox import Delivery
from adapters.entrypoints.process import Process
from adapters.entrypoints.queue import QueueWorker
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime
from adapters.runtime.rollout import HandedBack
from adapters.runtime.settings import QueueSettings
from adapters.runtime.telemetry import Telemetry
from tests.entrypoints.process import environ
from tests.runtime.conftest import dynamo, url
from tests.runtime.dynamo_kit import KEYS, Clock, worker
from tests.runtime.kit import BASE, JOB, Adapter, adapter, wire
from tests.runtime.log_kit import FITS

__all__ = ["dynamo", "url"]

QUEUE = QueueSettings("queue", "dead", "ledger", None, None, None)
EXPIRED = "Credentials were refreshed, but the refreshed credentials are still expired."


class ScriptedInbox:
    """Does what it is told, and notes what became of each message."""

    def __init__(self) -> None:
        self.polls: list[Any] = []
        self.failures: list[Exception] = []
        self.said: list[tuple[str, Any]] = []
        self.more = asyncio.Event()

    async def receive(self, at_most: int) -> list[Delivery]:
        if not self.polls:
            await asyncio.sleep(0.01)
            return []
        found = self.polls.pop(0)
        if isinstance(found, Exception):
            raise found
        return [found]

    async def read(self, delivery: Delivery) -> RolloutRequest:
        return RolloutRequest.from_wire(json.loads(delivery.body))

    async def _note(self, what: str, value: Any = None) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.said.append((what, value))
        self.more.set()

    async def until(self, number: int) -> None:
        while len(self.said) < number:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 10)

    async def hide(self, delivery: Delivery, seconds: int) -> None:
        await self._note("hidden", seconds)

    async def delete(self, delivery: Delivery) -> None:
        await self._note("deleted")

    async def bury(self, delivery: Delivery, reason: str) -> None:
        await self._note("buried", reason)


@pytest.fixture
async def own(service: FakeJobRuntime) -> AsyncIterator[Adapter]:
    async with adapter(service) as made:
        yield made


def working(own: Adapter, inbox: ScriptedInbox) -> QueueWorker:
    settings = replace(BASE, drain=2.0)
    process = Process(settings, FakeEnvironment(), own.rollouts, Telemetry("n", "fake", "INFO", own.stream))
    return QueueWorker(process, inbox, QUEUE)  # type: ignore[arg-type]


def message(rollout_id: str = "r1", **more: Any) -> Delivery:
    return Delivery(json.dumps(wire(rollout_id) | more), f"receipt-{rollout_id}", 0)


async def test_whatever_a_poll_raises_the_worker_goes_on(
    own: Adapter, service: FakeJobRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore itself raises a RuntimeError where credentials cannot be refreshed."""
    monkeypatch.setattr(queue, "TROUBLE_SECONDS", 0.01)
    inbox, stop = ScriptedInbox(), asyncio.Event()
    inbox.polls = [RuntimeError(EXPIRED), message()]
    running = asyncio.create_task(working(own, inbox).run(stop))
    await inbox.until(1)
    stop.set()
    await running
    assert inbox.said == [("deleted", None)]
    assert service.rewards == {"r1": [0.5]}
    assert EXPIRED in own.log("queue_unreachable")[0]["error"]


async def test_what_breaks_the_worker_does_not_break_its_rollouts(
    own: Adapter, service: FakeJobRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = ScriptedInbox()
    inbox.polls = [message("r1"), message("r2")]
    broken = working(own, inbox)
    begin: Callable[[Delivery], None] = broken._start

    def start(delivery: Delivery) -> None:
        if "r2" in delivery.receipt:
            raise ZeroDivisionError
        begin(delivery)

    monkeypatch.setattr(broken, "_start", start)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(broken.run(asyncio.Event()), 10)
    assert [line["event"] for line in own.log("worker_broke") + own.log("stopped")] == [
        "worker_broke",
        "stopped",
    ]
    assert service.rewards == {"r1": [0.5]}


async def test_a_heartbeat_outlives_whatever_it_meets(
    own: Adapter, service: FakeJobRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "VISIBILITY_SECONDS", 0.06)
    inbox = ScriptedInbox()
    inbox.failures = [RuntimeError(EXPIRED)]
    beating = asyncio.create_task(working(own, inbox)._keep_hidden(message()))
    await inbox.until(2)
    beating.cancel()
    assert inbox.said[0] == ("hidden", 0.06)
    assert len(own.log("heartbeat_failed")) == 1


async def test_no_sign_of_life_hides_what_was_handed_back(
    own: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "VISIBILITY_SECONDS", 0.03)
    inbox = ScriptedInbox()

    class Slow(ScriptedInbox):
        async def hide(self, delivery: Delivery, seconds: int) -> None:
            await super().hide(delivery, seconds)
            if not seconds:  # SQS takes its time, and the next sign of life would be due
                await asyncio.sleep(0.1)

    async def left(_: RolloutRequest) -> None:
        await asyncio.sleep(0.05)
        raise HandedBack("r1")

    inbox = Slow()
    monkeypatch.setattr(own.rollouts, "run", left)
    await working(own, inbox)._handle(message())
    assert inbox.said[-1] == ("hidden", 0)
    assert len(inbox.said) > 1


@pytest.mark.parametrize("what", ["refused when opened", "poison"])
async def test_a_dead_letter_that_could_not_be_sent_is_sent_by_the_next_delivery(
    service: FakeJobRuntime, dynamo: Any, what: str
) -> None:
    async def refuses() -> None:
        raise RequestError("prompt.input", "is no task")

    rollout_id, ledger, inbox = next(KEYS), worker(dynamo, Clock()), ScriptedInbox()
    opening = refuses if what == "refused when opened" else None
    async with adapter(
        service, FakeEnvironment(opening=opening), ledger=ledger, max_attempts=2, **FITS
    ) as own:
        for _ in range(2 if what == "poison" else 0):
            claim: Any = await ledger.claim(f"{JOB}/{rollout_id}")
            await claim.release()
        inbox.failures = [EndpointConnectionError(endpoint_url="sqs")]
        settling = working(own, inbox)
        with pytest.raises(EndpointConnectionError):  # the message comes back by itself
            await settling._handle(message(rollout_id))
        await settling._handle(message(rollout_id))
    ((fate, reason),) = inbox.said
    assert (fate, reason.split(":")[0]) == ("buried", "poison" if what == "poison" else "malformed")
    assert service.seals == {rollout_id: "failed"}
    ledger.close()


async def test_a_health_file_that_cannot_be_written_stops_no_rollout(own: Adapter, tmp_path: Path) -> None:
    settling = working(own, ScriptedInbox())
    settling._health = tmp_path / "nowhere" / "health"
    settling._show_life()
    assert len(own.log("health_file")) == 1


@pytest.mark.parametrize("entrypoint", ["queue", "http"])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_PROFILE", "nope", "The config profile (nope) could not be found"),
        ("AWS_REGION", "us_west_2", "us_west_2"),
        ("AWS_ENDPOINT_URL", "localhost:4566", "localhost:4566"),
    ],
)
def test_surroundings_without_a_client_are_told_in_a_sentence(
    tmp_path: Path, entrypoint: str, name: str, value: str, said: str
) -> None:
    variables = environ(
        tmp_path, "http://127.0.0.1:1",
        MTRL_QUEUE_URL="http://127.0.0.1:1/queue", MTRL_DEAD_LETTER_URL="http://127.0.0.1:1/dead",
        MTRL_LEDGER_TABLE="ledger", **{name: value},
    )  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", f"adapters.entrypoints.{entrypoint}"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("adapter: ")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr

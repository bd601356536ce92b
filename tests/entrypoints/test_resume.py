"""Two queue workers, one after the other, as real processes: what one leaves, the other finishes."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapters.entrypoints.inbox import POLL_SECONDS
from adapters.runtime.fakes import FakeJobRuntime, Seen, assistant, tool_call
from mtrl.rehearsing.processes import read_json_lines
from tests.aws import REGION, client
from tests.entrypoints.test_queue import Intake, emulator, intake, said, until, worker
from tests.runtime.kit import JOB, wire

__all__ = ["emulator", "intake"]

TURNS = 6
SETTINGS = {
    "MTRL_FAKE_REPLAY": "reexecute",
    "MTRL_FAKE_MAX_TURNS": "10",
    "MTRL_ROLLOUT_LOG_BUCKET": "logs",
    "MTRL_DRAIN_SECONDS": "30",
    "MTRL_SAMPLE_TIMEOUT_SECONDS": "10",
}


class SlowService(FakeJobRuntime):
    """Each Sample takes a while. Each answer of the policy is another one, `tool` what it calls."""

    def __init__(self, seconds: float, tool: str = "look", turn: int = -1) -> None:
        super().__init__(self.answer)
        self._seconds, self._tool, self._turn = seconds, tool, turn

    def answer(self, seen: Seen) -> dict[str, Any]:
        sampled = sum(message["role"] == "assistant" for message in seen.body["messages"])
        if sampled == TURNS - 1:
            return assistant("done")
        return assistant(
            f"turn {sampled}", tool_call(self._tool if sampled == self._turn else "look", {"turn": sampled})
        )

    async def _handle(self, http: Any) -> Any:
        answer = await super()._handle(http)
        if http.path == "/sample":
            await asyncio.sleep(self._seconds)
        return answer

    def repeated(self) -> int:
        """Samples that were asked for twice."""
        asked = Counter((seen.rollout_id, seen.raw) for seen in self.seen if seen.operation == "sample")
        return sum(count - 1 for count in asked.values())


@pytest.fixture
def bucket(intake: Intake) -> None:
    if "logs" not in [each["Name"] for each in intake.s3.list_buckets()["Buckets"]]:
        intake.s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": REGION})


def lines(log: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in read_json_lines(log) if line.get("event") == event]


async def test_sigterm_in_mid_episode_and_the_next_worker_finishes(
    tmp_path: Path, intake: Intake, bucket: None
) -> None:
    ids = [f"t{n}" for n in range(8)]
    service = SlowService(0.5)
    async with service:
        async with worker(tmp_path / "one", intake, service, **SETTINGS) as (first, log):
            intake.send(*(wire(rollout_id) for rollout_id in ids))
            await until(lambda: service.count("sample") >= 20, first, log)
            told = time.monotonic()
            first.send_signal(signal.SIGTERM)
            await first.wait()
            took = time.monotonic() - told
        assert first.returncode == 0, said(log)
        assert len(lines(log, "handed_back")) == len(ids), said(log)
        assert took < 0.5 + 5  # the Sample in flight, not the episode and not the grace
        assert service.seals == {}
        async with worker(tmp_path / "two", intake, service, **SETTINGS) as (second, log):
            await until(lambda: len(service.rewards) == len(ids) and not intake.left(), second, log)
        assert service.turns == dict.fromkeys(ids, TURNS)
        assert (service.repeated(), service.count("complete"), service.count("reward")) == (0, 8, 8)
        assert service.breaches == []
    finished = lines(log, "rollout")
    assert {line["stop_reason"] for line in finished} == {"answered"}
    assert sum(line["UncertainSamples"] for line in finished) == 0


async def kill_and_take_over(
    folder: Path, intake: Intake, service: SlowService, rollout_id: str, samples: int
) -> dict[str, Any]:
    """Kill a worker after so many Samples; the line of the rollout by the worker that takes over."""
    settings = {**SETTINGS, "MTRL_ON_CRASH": "resume", "MTRL_FAKE_STUBBORN_SECONDS": "2"}
    async with worker(folder / "one", intake, service, **settings) as (first, log):
        intake.send(wire(rollout_id))
        await until(lambda: service.turns[rollout_id] == samples, first, log)
        await asyncio.sleep(0.5)  # the answer is read, and what follows from it has begun
        first.kill()
        await first.wait()
    # As if the time of a takeover had passed; and the message is seen again, as a retry of the forwarder is.
    client("dynamodb", intake.url).update_item(
        TableName="ledger",
        Key={"rollout": {"S": f"{JOB}/{rollout_id}"}},
        UpdateExpression="SET lease_ends = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )
    await asyncio.sleep(POLL_SECONDS)  # the dead worker's poll would still be given the message
    intake.send(wire(rollout_id))
    async with worker(folder / "two", intake, service, **settings) as (second, log):
        await until(lambda: lines(log, "rollout"), second, log)
    assert (service.count("complete"), service.count("reward")) == (1, 1)
    assert service.breaches == []
    (line,) = lines(log, "rollout")
    assert (line["stop_reason"], line["Turns"]) == ("answered", TURNS)
    return line


async def test_killed_in_a_tool_call_nothing_is_in_doubt(
    tmp_path: Path, intake: Intake, bucket: None
) -> None:
    service = SlowService(0.0, tool="stubborn", turn=2)
    async with service:
        line = await kill_and_take_over(tmp_path, intake, service, "k1", samples=3)
        assert (service.turns["k1"], service.repeated()) == (TURNS, 0)
    assert line["UncertainSamples"] == 0


async def test_killed_with_a_sample_in_flight_one_turn_is_in_doubt(
    tmp_path: Path, intake: Intake, bucket: None
) -> None:
    service = SlowService(1.5)
    async with service:
        line = await kill_and_take_over(tmp_path, intake, service, "k2", samples=3)
        assert service.repeated() == 1
    assert line["UncertainSamples"] == 1

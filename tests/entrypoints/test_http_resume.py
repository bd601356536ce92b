"""Two HTTP processes of one ledger: what one left, or died over, the other finishes when asked again."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.aws import client
from tests.entrypoints.process import Served, adapter_process, environ, refused
from tests.entrypoints.test_queue import Intake, emulator, intake
from tests.entrypoints.test_resume import SETTINGS, TURNS, SlowService, bucket
from tests.runtime.kit import JOB, wire

__all__ = ["bucket", "emulator", "intake"]


@pytest.fixture
def settings(intake: Intake, bucket: None) -> dict[str, str]:
    return {**SETTINGS, "AWS_ENDPOINT_URL": intake.url, "MTRL_LEDGER_TABLE": "ledger"}


def lease_ran_out(intake: Intake, rollout_id: str) -> None:
    client("dynamodb", intake.url).update_item(
        TableName="ledger",
        Key={"rollout": {"S": f"{JOB}/{rollout_id}"}},
        UpdateExpression="SET lease_ends = :past",
        ExpressionAttributeValues={":past": {"N": "1"}},
    )


async def sampled(service: SlowService, rollout_id: str, times: int) -> None:
    async with asyncio.timeout(60):
        while service.turns[rollout_id] < times:  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.02)


async def asked(served: Served, rollout_id: str) -> tuple[int, str | None, dict[str, Any]]:
    async with served.client.post(served.url + "/invocations", json=wire(rollout_id)) as answer:
        return answer.status, answer.headers.get("Retry-After"), await answer.json()


async def test_sigterm_in_mid_episode_and_the_caller_asks_another_process(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    service = SlowService(0.4)
    async with service:
        async with adapter_process(tmp_path / "one", service.url, **settings) as one:
            asking = asyncio.create_task(asked(one, "h1"))
            await sampled(service, "h1", 3)
            one.process.send_signal(signal.SIGTERM)
            status, retry_after, _ = await asking
            assert (status, retry_after) == (503, "1")
            assert await one.exit_code() == 0
            assert one.events("handed_back")
            assert not one.events("rollout_broke")
        assert service.seals == {}
        async with adapter_process(tmp_path / "two", service.url, **settings) as two:
            status, _, answer = await asked(two, "h1")
            assert (status, answer["stop_reason"], answer["turns"]) == (200, "answered", TURNS)
            assert (await asked(two, "h1"))[2] == answer  # by the ledger, without work
        assert (service.turns["h1"], service.repeated()) == (TURNS, 0)
        assert (service.count("complete"), service.count("reward")) == (1, 1)
        assert service.breaches == []


async def test_a_killed_process_and_the_caller_asks_another(
    tmp_path: Path, intake: Intake, settings: dict[str, str]
) -> None:
    settings = {**settings, "MTRL_ON_CRASH": "resume", "MTRL_FAKE_STUBBORN_SECONDS": "2"}
    service = SlowService(0.0, tool="stubborn", turn=2)
    async with service:
        async with adapter_process(tmp_path / "one", service.url, **settings) as one:
            asking = asyncio.create_task(asked(one, "h2"))
            await sampled(service, "h2", 3)
            await asyncio.sleep(0.5)  # the answer is read, and the tool was called
            one.process.kill()
            await asyncio.gather(asking, return_exceptions=True)
        async with adapter_process(tmp_path / "two", service.url, **settings) as two:
            status, retry_after, _ = await asked(two, "h2")
            assert (status, retry_after) == (409, "5")  # the dead one's lease has to run out
            lease_ran_out(intake, "h2")
            status, _, answer = await asked(two, "h2")
            assert (status, answer["stop_reason"], answer["turns"]) == (200, "answered", TURNS)
        assert (service.turns["h2"], service.repeated()) == (TURNS, 0)


async def test_a_rollout_whose_caller_was_answered_is_finished_here(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    """Nobody will ask for it again."""
    service = SlowService(0.3)
    async with (
        service,
        adapter_process(tmp_path, service.url, **settings, MTRL_SYNC_LIMIT_SECONDS="0.05") as one,
    ):
        assert (await asked(one, "h3"))[2] == {"status": "accepted", "rolloutId": "h3"}
        one.process.send_signal(signal.SIGTERM)
        assert await one.exit_code() == 0
        assert not one.events("handed_back")
    assert service.turns == {"h3": TURNS}
    assert list(service.rewards) == ["h3"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MTRL_ROLLOUT_LOG_BUCKET": "logs"}, "MTRL_ROLLOUT_LOG_BUCKET needs MTRL_LEDGER_TABLE"),
        (
            {"MTRL_LEDGER_TABLE": "ledger", "MTRL_ON_CRASH": "resume"},
            "MTRL_ON_CRASH=resume needs MTRL_ROLLOUT_LOG_BUCKET",
        ),
    ],
)
async def test_half_of_what_is_shared_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    code, text = await refused(environ(tmp_path, "http://127.0.0.1:9") | changes, tmp_path / "log")
    assert (code, "Traceback" in text) == (2, False)
    assert said in text

"""The life of the process: how it refuses to start, how busy it says it is, and how it stops."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.runtime.fakes import Answer, FakeJobRuntime, Seen, assistant, tool_call
from tests.entrypoints.process import adapter_process, environ, refused
from tests.runtime.kit import wire


def first_calls(tool: str) -> Any:
    def policy(seen: Seen) -> dict[str, Any]:
        sampled = any(message["role"] == "assistant" for message in seen.body["messages"])
        return assistant() if sampled else assistant(None, tool_call(tool))

    return policy


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"MTRL_MAX_CONCURENCY": "5", "MTRL_AUTH": "basic", "MTRL_DRAIN_SECONDS": "nan", "AWS_REGION": ""},
            [
                "Did you mean MTRL_MAX_CONCURRENCY?",
                "MTRL_AUTH='basic' is none of bearer, sigv4",
                "MTRL_DRAIN_SECONDS=nan",
                "AWS_REGION is not set",
            ],
        ),
        ({"MTRL_ENVIRONMENT": "fkae"}, ["Unknown environment 'fkae'", "Did you mean 'fake'?", "sop"]),
        ({"MTRL_LOOP": "tool"}, ["Unknown loop 'tool'", "Did you mean 'tools'?"]),
        ({"MTRL_JOB_RUNTIME_ENDPOINT": "http://example.com"}, ["is no https:// origin"]),
        ({"MTRL_JOB_RUNTIME_ENDPOINT": "https://:pw@example.com"}, ["is no https:// origin"]),
        ({"MTRL_JOB_RUNTIME_ENDPOINT": "https://example.com\n"}, ["is no https:// origin"]),
        ({"MTRL_FAKE_MAX_TURNS": "many"}, ["fake: invalid literal"]),
        ({"MTRL_ARCHIVE_DIR": "/dev/null/x"}, ["MTRL_ARCHIVE_DIR='/dev/null/x' cannot be used"]),
        ({"AWS_SECRET_ACCESS_KEY": ""}, ["The AWS credentials cannot be used"]),
        ({"AWS_PROFILE": "nobody"}, ["The AWS credentials cannot be used", "nobody"]),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ["No AWS credentials were found"]),
        ({"HOST": "no.such.host.invalid"}, ["Cannot listen"]),
    ],
)
async def test_what_an_operator_can_put_right(
    tmp_path: Path, changes: dict[str, str], said: list[str]
) -> None:
    variables = environ(tmp_path, "http://127.0.0.1:9") | changes
    code, text = await refused(variables, tmp_path / "log")
    assert code == 2, text
    assert "Traceback" not in text
    for words in said:
        assert words in text


async def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        variables = environ(tmp_path, "http://127.0.0.1:9", PORT=str(taken.getsockname()[1]))
        code, text = await refused(variables, tmp_path / "log")
    assert (code, "Traceback" in text) == (2, False)
    assert "Cannot listen" in text
    assert "PORT" in text


async def test_metrics_go_by_the_name_that_the_alarms_are_made_for(
    service: FakeJobRuntime, tmp_path: Path
) -> None:
    """It is the setting's; what the plug-in calls itself may be another."""
    async with adapter_process(tmp_path, service.url, MTRL_ENVIRONMENT="renamed") as served:
        status, _ = await served.post(wire())
        assert status == 200
        assert (await served.logged("rollout"))["Environment"] == "renamed"


async def test_busy_full_and_joined(service: FakeJobRuntime, tmp_path: Path) -> None:
    service.script("sample", Answer(fault="hang"))
    async with adapter_process(tmp_path, service.url, MTRL_MAX_CONCURRENCY="1") as served:
        assert await served.ping() == "Healthy"
        running = asyncio.create_task(served.post(wire("r1")))
        await service.arrived("sample")
        assert await served.ping() == "HealthyBusy"
        async with served.client.post(served.url + "/invocations", json=wire("r2")) as full:
            assert (full.status, full.headers["Retry-After"]) == (429, "1")
            assert "MTRL_MAX_CONCURRENCY" in (await full.json())["errorMessage"]
        joined = asyncio.create_task(served.post(wire("r1")))
        await asyncio.sleep(0.1)
        service._closing.set()  # the hanging Sample is cut, and tried again
        assert await running == await joined
        assert (await running)[1]["status"] == "completed"
        assert await served.ping() == "Healthy"
        samples = service.count("sample")
        assert await served.post(wire("r1")) == await running
        assert (await served.post(wire("r2")))[0] == 200
    assert samples == 2
    assert service.count("reward") == 2


async def test_a_long_rollout_is_accepted_and_goes_on(service: FakeJobRuntime, tmp_path: Path) -> None:
    service.script("sample", Answer(fault="hang"))
    async with adapter_process(tmp_path, service.url, MTRL_SYNC_LIMIT_SECONDS="0.05") as served:
        assert await served.post(wire()) == (200, {"status": "accepted", "rolloutId": "r1"})
        assert await served.ping() == "HealthyBusy"
        service._closing.set()
        await served.logged("rollout")
    assert service.rewards == {"r1": [0.5]}


async def test_sigterm_lets_a_running_rollout_finish(service: FakeJobRuntime, tmp_path: Path) -> None:
    service.script("sample", Answer(fault="hang"))
    async with adapter_process(tmp_path, service.url) as served:
        running = asyncio.create_task(served.post(wire()))
        await service.arrived("sample")
        served.process.send_signal(signal.SIGTERM)
        await served.logged("draining")
        status, answer = await served.post(wire("r2"))
        assert (status, answer["errorType"]) == (503, "InternalServerError")
        service._closing.set()
        assert (await running)[1]["stop_reason"] == "answered"
        assert await served.exit_code() == 0
    assert service.seals == {"r1": "ready"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_rollout_without_end_is_sealed_inside_the_grace(
    service: FakeJobRuntime, tmp_path: Path, number: signal.Signals
) -> None:
    service.policy = first_calls("hang")
    async with adapter_process(tmp_path, service.url, MTRL_DRAIN_SECONDS="2") as served:
        running = asyncio.create_task(served.post(wire()))
        await service.arrived("sample")
        served.process.send_signal(number)
        answer = (await running)[1]
        assert (answer["status"], answer["stop_reason"]) == ("completed", "drained")
        assert await served.exit_code() == 0
        assert served.events("stopped")[0]["unfinished"] == 0
        told, ended = served.events("draining")[0]["time"], served.events("stopped")[0]["time"]
    assert ended - told <= 2.5
    assert service.rewards == {"r1": [0.5]}


async def test_a_job_runtime_that_is_gone_does_not_keep_the_process(
    service: FakeJobRuntime, tmp_path: Path
) -> None:
    service.script("complete", *[Answer(fault="hang")] * 9)
    async with adapter_process(tmp_path, service.url, MTRL_DRAIN_SECONDS="1") as served:
        running = asyncio.create_task(served.post(wire()))
        await service.arrived("complete")
        served.process.send_signal(signal.SIGTERM)
        assert (await served.logged("stopped"))["unfinished"] == 1
        await asyncio.wait_for(served.process.wait(), 15)  # far below the 60 s that aiohttp would wait
        await asyncio.gather(running, return_exceptions=True)


async def test_a_tool_that_does_not_let_go_does_not_keep_the_process(
    service: FakeJobRuntime, tmp_path: Path
) -> None:
    service.policy = first_calls("stubborn")
    changes = {"MTRL_DRAIN_SECONDS": "1", "MTRL_FAKE_STUBBORN_SECONDS": "120"}
    async with adapter_process(tmp_path, service.url, **changes) as served:
        running = asyncio.create_task(served.post(wire()))
        await service.arrived("sample")
        served.process.send_signal(signal.SIGTERM)
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.wait_for(served.process.wait(), 30)
    assert service.seals == {"r1": "ready"}


async def test_a_second_sigterm_exits_at_once(service: FakeJobRuntime, tmp_path: Path) -> None:
    service.policy = first_calls("hang")
    async with adapter_process(tmp_path, service.url) as served:
        running = asyncio.create_task(served.post(wire()))
        await service.arrived("sample")
        served.process.send_signal(signal.SIGTERM)
        await served.logged("draining")
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(served.process.wait(), 15) == 1
        assert served.events("killed")[0]["uncertain_rollouts"] == ["r1"]
        with pytest.raises(aiohttp.ClientError):
            await running
    assert service.seals == {}


def _kill_if_running(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def test_a_log_that_nobody_reads_any_more_costs_no_rollout(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(FakeJobRuntime())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "adapters.entrypoints.http",
            env=environ(tmp_path, service.url), stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        stack.callback(_kill_if_running, process)
        port = 0
        while not port:
            port = json.loads(await process.stdout.readline()).get("port", 0)
        process.stdout._transport.close()  # type: ignore[attr-defined] # the reader's end of the pipe is gone
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/invocations", json=wire()) as answer,
        ):
            assert answer.status == 200, await answer.text()
        process.terminate()
        _, said = await process.communicate()
        assert process.returncode == 0, said
        assert service.rewards == {"r1": [0.5]}

"""What the service answers is not repeated in the log: it may hold the prompt, or the policy's words."""

import asyncio
import json
import time

import pytest

from adapters.contract import PolicyUnavailable
from adapters.runtime.fakes import Answer, FakeJobRuntime, assistant, tool_call
from adapters.runtime.job_runtime import MESSAGE_CHARS, JobRuntime, open_session
from tests.runtime.kit import OpenAuthorizer, adapter, request

ECHO = b'{"message": "cannot parse PROMPT-9", "Message": "PROMPT-9", "code": "PROMPT-9"}'
SAMPLE_FAILURES = [
    (Answer(400, ECHO), "SampleRejected: HTTP 400"),
    (Answer(400, ECHO, {"x-amzn-ErrorType": "ValidationException:http://x"}), "HTTP 400 ValidationException"),
    (Answer(422, b'{"__type": "a.b#ModelError", "message": "PROMPT-9"}'), "HTTP 422 ModelError"),
    (Answer(400, b'{"message": "PROMPT-9 is not in valid status"}'), "TrajectoryGone: HTTP 400"),
    (Answer(402, b'{"code": "ServiceQuotaExceededException", "message": "PROMPT-9"}'), "402 ServiceQuota"),
    (Answer(500, b"PROMPT-9"), "after 2 attempts: HTTP 500"),
    (Answer(200, b'{"choices": "PROMPT-9"}'), "after 2 attempts: HTTP 200, no valid completion"),
]


@pytest.mark.parametrize(("answer", "said"), SAMPLE_FAILURES, ids=[said for _, said in SAMPLE_FAILURES])
async def test_of_an_answer_to_a_sample_only_status_and_type_are_written(
    service: FakeJobRuntime, answer: Answer, said: str
) -> None:
    service.policy = lambda _: assistant(None, tool_call("look"))
    service.script("sample", None, *[answer] * 5)
    async with adapter(service) as own:
        await own.rollouts.run(request())
        (line,) = own.log("policy_unavailable") + own.log("trajectory_gone")
        assert said in line["error"]
        assert "PROMPT-9" not in own.stream.getvalue()


async def test_an_answer_that_is_no_http_is_not_quoted() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nPROMPT-9\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, open_session(1) as session:
        runtime = JobRuntime(
            session, f"http://{host}:{port}", OpenAuthorizer(), timeout=5, uncertain_retries=0
        )
        with pytest.raises(PolicyUnavailable, match="no answer from the Job Runtime: Client") as raised:
            await runtime.sample(
                request(), b"{}", deadline=time.monotonic() + 9, first=False, on_uncertain=lambda: None
            )
    assert "PROMPT-9" not in str(raised.value)


async def test_of_an_answer_to_a_report_the_message_is_written_in_short(service: FakeJobRuntime) -> None:
    long = {"__type": "ValidationException", "message": "Rewards: " + "x" * 1000, "more": "MORE"}
    service.script("reward", Answer(400, json.dumps(long).encode()))
    async with adapter(service) as own:
        await own.rollouts.run(request())
        (line,) = own.log("report_refused")
    assert line["error"] == f"HTTP 400 ValidationException Rewards: {'x' * (MESSAGE_CHARS - 9)}"

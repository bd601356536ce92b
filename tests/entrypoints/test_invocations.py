"""The wire of a real adapter process: whatever is sent, it answers in its form and lives on."""

import asyncio
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.runtime.fakes import FakeJobRuntime, Seen, assistant, tool_call
from rehearsal.service.wire.auth import refusal
from tests.entrypoints.process import Served, adapter_process
from tests.runtime.kit import REGION, wire
from tests.runtime.test_gate import HOSTILE
from tests.runtime.test_request import json_values, known_names

MIB = 1024 * 1024


def prompt(**changes: Any) -> dict[str, Any]:
    return wire() | {"prompt": json.dumps({"environment": "fake", "input": {"text": "x"}} | changes)}


BAD: list[tuple[Any, int, str]] = [
    (b"", 400, "body"),
    (b"\xff\xfe", 400, "body"),
    (b'{"prompt": "\xff"}', 400, "body"),
    (b"{", 400, "body"),
    (b"NaN", 400, "body"),
    (b'{"prompt": "\\ud800"}', 400, "body"),
    (b"[" * 100_000, 400, "body"),
    (b'{"a":' * 100_000, 400, "body"),
    (b"[]", 400, "body"),
    (b"null", 400, "body"),
    (wire() | {"prompt": "x" * (8 * MIB)}, 413, "body"),
    (wire() | {"prompt": 3}, 400, "prompt"),
    (wire() | {"metadata": []}, 400, "metadata"),
    (prompt(input={"text": "\ud800"}), 400, "prompt"),
    (prompt(input={"other": 1}), 400, "prompt.input.text"),
    (prompt(environment="sop"), 400, "prompt.environment"),
    (prompt(environment="x" * 100_000), 400, "prompt.environment"),
    (prompt(environment=7), 400, "prompt.environment"),
    (wire(inferenceParams={"maxTokens": 1e300}), 400, "inferenceParams.maxTokens"),
    (wire(job=wire()["metadata"]["jobArn"].replace("111122223333", "999999999999")), 403, "metadata.jobArn"),
]


def check_refusal(status: int, answer: dict[str, Any]) -> None:
    assert 400 <= status < 500
    assert set(answer) == {"errorType", "errorMessage", "field"}
    assert answer["errorType"] == ("AccessDenied" if status == 403 else "ValidationError")
    assert answer["field"] in answer["errorMessage"]


async def gzipped(served: Served, body: bytes) -> tuple[int, dict[str, Any]]:
    """In one packet on a connection of its own: the server may cut one that it cannot decode."""
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := await reader.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    answer = json.loads(await reader.readexactly(length))
    writer.close()
    return status, answer


async def test_what_is_refused(service: FakeJobRuntime, tmp_path: Path) -> None:
    async with adapter_process(tmp_path, service.url) as served:
        for payload, status, field in BAD:
            got, answer = await served.post(payload)
            assert (got, answer["field"]) == (status, field), answer
            check_refusal(got, answer)
        for endpoint in HOSTILE:
            payload = wire()
            payload["metadata"]["endpoint"] = endpoint
            got, answer = await served.post(payload, "/rollout")
            assert (got, answer["field"]) == (403, "metadata.endpoint")
            check_refusal(got, answer)
        assert "Traceback" not in served.log.read_text()
        # What cannot be decoded is answered like the rest, but aiohttp itself logs it with a traceback.
        check_refusal(*await gzipped(served, b"no gzip"))
        check_refusal(*await gzipped(served, gzip.compress(b" " * (9 * MIB))))
        assert await served.ping() == "Healthy"
        assert service.seen == []
        assert (await served.post(wire()))[0] == 200


def test_any_bytes_are_answered(tmp_path: Path) -> None:
    """One process, a few hundred bodies."""
    loop = asyncio.new_event_loop()
    service = FakeJobRuntime()
    loop.run_until_complete(service.__aenter__())
    context = adapter_process(tmp_path, service.url)
    served: Served = loop.run_until_complete(context.__aenter__())
    members = st.dictionaries(known_names, json_values | st.dictionaries(known_names, json_values))
    bodies = (json_values | members).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=300)
    changed = st.tuples(known_names, json_values).map(lambda pair: json.dumps(wire() | dict([pair])).encode())

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies | changed.filter(lambda body: json.loads(body).get("metadata") != wire()["metadata"]))
    def fuzz(body: bytes) -> None:
        check_refusal(*loop.run_until_complete(served.post(body)))

    try:
        fuzz()
        assert loop.run_until_complete(served.ping()) == "Healthy"
        assert service.seen == []
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.run_until_complete(service.__aexit__())
        loop.close()
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize("auth", ["bearer", "sigv4"])
async def test_headers_never_cross(service: FakeJobRuntime, tmp_path: Path, auth: str) -> None:
    crossed: list[str] = []
    refusals: set[str | None] = set()

    def policy(seen: Seen) -> dict[str, Any]:
        text = seen.body["messages"][1]["content"]
        if text != f"marker of {seen.rollout_id}":
            crossed.append(seen.rollout_id)
        refusals.add(refusal(seen.headers.get("Authorization"), REGION))
        turns = sum(message["role"] == "assistant" for message in seen.body["messages"])
        return assistant(None, tool_call("look")) if turns < 3 else assistant()

    service.policy = policy
    ids = [f"r{number}" for number in range(96)]
    async with adapter_process(tmp_path, service.url, MTRL_AUTH=auth) as served:
        answers = await asyncio.gather(*(served.post(wire(i, f"marker of {i}")) for i in ids))
        lines = served.events("rollout")
    assert [status for status, _ in answers] == [200] * 96
    assert crossed == []
    assert refusals == {None}
    assert service.count("sample") == 96 * 4
    assert service.seals == dict.fromkeys(ids, "ready")
    assert sorted(service.rewards) == sorted(ids)
    assert service.breaches == []
    assert sorted(line["rollout_id"] for line in lines) == sorted(ids)
    log = served.log.read_text()
    assert "marker of" not in log
    assert "TARGET-7" not in log
    assert "Traceback" not in log


async def test_unknown_domain_of_the_sop_environment() -> None:
    with tempfile.TemporaryDirectory() as name:
        async with FakeJobRuntime() as service:
            async with adapter_process(Path(name), service.url, MTRL_ENVIRONMENT="sop") as served:
                payload = wire()
                task = {"environment": "sop", "input": {"domain": "returns_dsk", "case": {}}, "target": {}}
                payload["prompt"] = json.dumps(task)
                status, answer = await served.post(payload)
                assert (status, answer["field"]) == (400, "prompt.input.domain")
                assert "returns_desk" in answer["errorMessage"]
                assert await served.ping() == "Healthy"
            assert service.seen == []


async def test_the_score_never_leaves_for_the_service(service: FakeJobRuntime, tmp_path: Path) -> None:
    """Neither in what is reported nor in the answer to the invocation: the service reads both."""
    async with adapter_process(tmp_path, service.url, MTRL_FAKE_SCORE="0.4321") as served:
        status, answer = await served.post(wire())
        line = await served.logged("rollout")
    assert status == 200
    assert set(answer) == {"status", "stop_reason", "rewards", "imputed", "turns"}
    assert line["Score"] == 0.4321  # it was computed, and stays here
    sent = [json.dumps(answer).encode(), *(seen.raw for seen in service.seen)]
    assert len(sent) == 4
    assert not [body for body in sent if b"4321" in body or b"score" in body.lower()]

"""Agents over real HTTP servers and a real boto3 client, and which one a job gets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from rehearsal.service.agents import (
    SESSION_HEADER,
    AgentError,
    Agents,
    HttpAgent,
    LambdaAgent,
)
from tests.service.agent_calls import PAYLOAD, handler_file, refused

ARN = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/desk-abc"
LAMBDA_ARN = "arn:aws:lambda:us-west-2:123456789012:function:forwarder"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server whose every POST goes to `handler`."""
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_http_sends_the_request_and_returns_the_answer() -> None:
    seen: list[tuple[str, str, object]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers[SESSION_HEADER], await request.json()))
        return web.json_response({"reward": 1.0})

    async with serving(handler) as url:
        agent = HttpAgent(url + "/")
        assert await agent.invoke(PAYLOAD, timeout=10) == {"reward": 1.0}
        await agent.invoke(PAYLOAD, timeout=10)
        await agent.close()
    assert [(path, body) for path, _, body in seen] == [("/invocations", PAYLOAD)] * 2
    # AgentCore refuses session ids below 33 characters
    assert len({session for _, session, _ in seen}) == 2
    assert all(len(session) >= 33 for _, session, _ in seen)


@pytest.mark.parametrize(
    ("status", "body", "headers", "text", "retryable"),
    [
        (400, {"errorType": "ValidationError", "errorMessage": "no prompt"}, {}, "no prompt", False),
        (
            403,
            {"errorType": "AccessDenied", "errorMessage": "other job"},
            {},
            "AccessDenied: other job",
            False,
        ),
        (429, {"errorMessage": "full"}, {}, "answered 429: full", True),
        (503, {"errorMessage": "draining"}, {}, "draining", True),
        (409, {"errorMessage": "busy"}, {"Retry-After": "5"}, "busy", True),
        (500, {"errorType": "InternalServerError", "errorMessage": "KeyError"}, {}, "KeyError", True),
        (500, "x" * 9000, {}, 'answered 500: "xxx', False),
        (302, {}, {"Location": "http://127.0.0.1:1/"}, "answered 302", False),
        (200, {"errorType": "ValidationError", "errorMessage": "bad"}, {}, "ValidationError: bad", False),
        (200, [1], {}, "no JSON object", False),
    ],
)
async def test_http_errors(
    status: int, body: object, headers: dict[str, str], text: str, retryable: bool
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    async with serving(handler) as url:
        error = await refused(HttpAgent(url))
    assert text in str(error)
    assert error.retryable is retryable


async def test_http_timeout_and_no_server() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    async with serving(handler) as url:
        error = await refused(HttpAgent(url), 0.2)
        assert "no answer within 0.2 s" in str(error)
        assert not error.retryable
    error = await refused(HttpAgent(url))
    assert "Is the agent running?" in str(error)
    assert error.retryable


async def test_http_connection_cut() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with serving(handler) as url:
        assert (await refused(HttpAgent(url))).retryable


async def test_http_20_calls_at_once() -> None:
    arrived = 0
    together = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            together.set()
        # Nobody is answered before all have come.
        await together.wait()
        return web.json_response({"n": (await request.json())["n"]})

    async with serving(handler) as url:
        agent = HttpAgent(url)
        answers = await asyncio.gather(*(agent.invoke({"n": n}, timeout=10) for n in range(20)))
        await agent.close()
    assert answers == [{"n": n} for n in range(20)]


def use_lambda(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")


async def test_lambda_success_and_20_calls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: set[str] = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["X-Amz-Invocation-Type"] == "RequestResponse"
        paths.add(request.path)
        await asyncio.sleep(0.05)
        return web.json_response({"n": (await request.json())["n"]})

    async with serving(handler) as url:
        use_lambda(monkeypatch, url)
        agent = LambdaAgent(LAMBDA_ARN)
        answers = await asyncio.gather(*(agent.invoke({"n": n}, timeout=10) for n in range(20)))
        await agent.close()
    assert answers == [{"n": n} for n in range(20)]
    assert paths == {f"/2015-03-31/functions/{LAMBDA_ARN}/invocations"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "text", "retryable"),
    [
        (
            200,
            {"X-Amz-Function-Error": "Unhandled"},
            {"errorType": "KeyError", "errorMessage": "x"},
            "KeyError: x",
            True,
        ),
        (200, {}, {"errorType": "AccessDenied", "errorMessage": "no"}, "AccessDenied: no", False),
        (200, {}, None, "no JSON object", False),
        (
            404,
            {"X-Amzn-ErrorType": "ResourceNotFoundException"},
            {"Message": "no function"},
            "no function",
            False,
        ),
        (429, {"X-Amzn-ErrorType": "TooManyRequestsException"}, {"Message": "slow"}, "slow", True),
    ],
)
async def test_lambda_errors(
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    body: object,
    text: str,
    retryable: bool,
) -> None:
    calls = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.json_response(body, status=status, headers=headers)

    async with serving(handler) as url:
        use_lambda(monkeypatch, url)
        error = await refused(LambdaAgent(LAMBDA_ARN))
    assert text in str(error)
    assert error.retryable is retryable
    assert calls == 1


async def test_lambda_timeout_and_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response({})

    async with serving(handler) as url:
        use_lambda(monkeypatch, url)
        assert "no answer within 0.3 s" in str(await refused(LambdaAgent(LAMBDA_ARN), 0.3))
    assert (await refused(LambdaAgent(LAMBDA_ARN))).retryable


async def test_agents_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    core = {"BedrockAgentCoreConfig": {"AgentRuntimeArn": ARN, "Qualifier": "DEFAULT"}}
    other = {"BedrockAgentCoreConfig": {"AgentRuntimeArn": ARN + "2"}}
    custom = {"CustomAgentLambdaConfig": {"LambdaArn": LAMBDA_ARN}}
    seen: list[str] = []

    def named(name: str) -> Handler:
        async def handler(_: web.Request) -> web.Response:
            seen.append(name)
            return web.json_response({})

        return handler

    async with serving(named("exact")) as exact, serving(named("default")) as default:
        agents = Agents(
            agents={ARN: exact, "*": default}, forwarder=handler_file(tmp_path, "return {'f': 1}")
        )
        for config in (core, other):
            await agents.resolve(config).invoke(PAYLOAD, timeout=10)
        assert await agents.resolve(custom).invoke(PAYLOAD, timeout=10) == {"f": 1}
        assert agents.resolve(core) is agents.resolve(core)
        await agents.close()
    assert seen == ["exact", "default"]


async def test_agents_say_which_flag_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    agents = Agents(agents={"arn:other": "http://x"}, forwarder=None)
    with pytest.raises(AgentError, match=f"--agent URL, or --agent {ARN}=URL"):
        agents.resolve({"BedrockAgentCoreConfig": {"AgentRuntimeArn": ARN}})
    with pytest.raises(AgentError, match=r"--forwarder PATH .* or set AWS_ENDPOINT_URL_LAMBDA"):
        agents.resolve({"CustomAgentLambdaConfig": {"LambdaArn": LAMBDA_ARN}})
    with pytest.raises(AgentError, match=r"BedrockAgentCoreConfig or CustomAgentLambdaConfig, not \['X'\]"):
        agents.resolve({"X": {}})
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    assert isinstance(agents.resolve({"CustomAgentLambdaConfig": {"LambdaArn": LAMBDA_ARN}}), LambdaAgent)
    await agents.close()

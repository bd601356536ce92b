"""The policy behind an OpenAI-compatible server: what it sends on, and what it makes of every answer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from rehearsal.policies.base import PolicyError
from rehearsal.policies.openai import OpenAIPolicy

MESSAGE = {"role": "assistant", "content": "hi", "reasoning_content": "so"}
WHOLE = {
    "choices": [{"message": MESSAGE, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
REQUEST = {
    "model": "default",
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0.5,
    "stream": True,
    "stream_options": {"include_usage": True},
}


class Server:
    """A fake server that answers with `answer`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = WHOLE
        self.status = 200
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.answer is None:
            assert request.transport is not None
            request.transport.abort()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/"
    yield made
    await runner.cleanup()


async def test_a_request_goes_on_and_the_answer_comes_back_whole(server: Server) -> None:
    policy = OpenAIPolicy(server.url)
    for _ in range(2):
        turn = await policy.sample(REQUEST, seed=2**40 + 7)
    await policy.close()
    assert (turn.message, turn.finish_reason) == (MESSAGE, "length")
    assert (turn.prompt_tokens, turn.completion_tokens, turn.trace) == (3, 4, None)
    # One answer, not a stream, and therefore no stream options: servers refuse them then.
    expected = {name: REQUEST[name] for name in ("model", "messages", "temperature")}
    assert server.bodies[0] == {**expected, "stream": False, "seed": 7}
    assert server.bodies[0] == server.bodies[1]
    assert server.keys == [None, None]


async def test_the_model_and_the_key_come_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "big")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    policy = OpenAIPolicy(server.url)
    await policy.sample(REQUEST, seed=1)
    await policy.close()
    assert (server.bodies[0]["model"], server.keys) == ("big", ["Bearer k"])


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_a_refusal_keeps_its_status(server: Server, status: int) -> None:
    server.answer, server.status = "the reason", status
    policy = OpenAIPolicy(server.url)
    with pytest.raises(PolicyError, match=f"answered {status}: the reason") as caught:
        await policy.sample(REQUEST, seed=1)
    await policy.close()
    assert caught.value.status == status


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "not json",
        [],
        {},
        {"choices": []},
        {"choices": ["x"]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": [1]}]},
        {**WHOLE, "usage": [1]},
        {**WHOLE, "usage": {"prompt_tokens": "many"}},
    ],
    ids=str,
)
async def test_whatever_else_comes_is_a_policy_error(server: Server, answer: Any) -> None:
    server.answer = answer
    policy = OpenAIPolicy(server.url)
    with pytest.raises(PolicyError) as caught:
        await policy.sample(REQUEST, seed=1)
    await policy.close()
    assert server.url[:-1] in str(caught.value)
    assert caught.value.status == 500


async def test_an_answer_without_usage_is_one(server: Server) -> None:
    server.answer = {"choices": [{"message": MESSAGE, "finish_reason": None}], "usage": None}
    policy = OpenAIPolicy(server.url)
    turn = await policy.sample(REQUEST, seed=1)
    await policy.close()
    assert (turn.finish_reason, turn.prompt_tokens) == ("stop", 0)


async def test_a_server_that_is_down() -> None:
    policy = OpenAIPolicy("http://127.0.0.1:9/v1")
    with pytest.raises(PolicyError, match="cannot be used"):
        await policy.sample(REQUEST, seed=1)
    await policy.close()


def test_what_is_no_url() -> None:
    with pytest.raises(PolicyError, match="openai:http://host/v1"):
        OpenAIPolicy("host/v1")

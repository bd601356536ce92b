"""A policy that takes its time: an OpenAI-compatible server that calls a tool some turns, then answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

RETURN_ID = re.compile(r"RT-\d{6}")
ANSWER = json.dumps({"eligibility": "approved", "policy_code": "APP-60"})


class SlowPolicy:
    """Plays the returns desk: reads the return note again and again, so that an episode lasts."""

    def __init__(self, *, turns: int, seconds: float) -> None:
        self._turns = turns
        self._seconds = seconds
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["SlowPolicy"]:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=120.0, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        await asyncio.sleep(self._seconds)
        message = self._message(body)
        finish = "tool_calls" if "tool_calls" in message else "stop"
        answer = {
            "id": "chatcmpl-chaos",
            "object": "chat.completion",
            "created": 0,
            "model": "default",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 20, "total_tokens": 420},
        }
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    def _message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        turn = sum(message.get("role") == "assistant" for message in body["messages"])
        if turn + 1 >= self._turns:
            return {"role": "assistant", "content": ANSWER}
        named = RETURN_ID.search(json.dumps(body["messages"]))
        arguments = json.dumps({"return_id": named[0] if named else "RT-000000"})
        call = {
            "id": f"call-{turn}",
            "type": "function",
            "function": {"name": "fetch_return", "arguments": arguments},
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}

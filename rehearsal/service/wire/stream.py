"""A sampled turn as server-sent events, in OpenAI's chat-completion chunks."""

import time
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from rehearsal.policies.base import Sampled

PIECE = 24
"""Characters of content in one chunk."""


async def stream_completion(
    request: web.Request, turn: Sampled, model: str, *, with_usage: bool
) -> web.StreamResponse:
    """Send the turn in chunks, then its finish reason, its usage if asked for, and `[DONE]`."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    head = {
        "id": f"chatcmpl-{id(turn):x}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }
    for delta in _deltas(turn):
        await _send(response, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    end = {"index": 0, "delta": {}, "finish_reason": turn.finish_reason}
    await _send(response, {**head, "choices": [end]})
    if with_usage:  # a chunk without a choice, which clients that did not ask trip over
        await _send(response, {**head, "choices": [], "usage": usage(turn)})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _deltas(turn: Sampled) -> Iterator[dict[str, Any]]:
    content = turn.message.get("content")
    yield {"role": "assistant", "content": None if content is None else ""}
    # What we do not know (reasoning, say) goes along whole: it is part of the verbatim answer.
    others = {k: v for k, v in turn.message.items() if k not in ("role", "content", "tool_calls")}
    if others:
        yield others
    if isinstance(content, str):
        for at in range(0, len(content), PIECE):
            yield {"content": content[at : at + PIECE]}
    for index, call in enumerate(turn.message.get("tool_calls") or ()):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]}
        arguments = call["function"]["arguments"]
        for at in range(0, len(arguments), PIECE):
            piece = {"arguments": arguments[at : at + PIECE]}
            yield {"tool_calls": [{"index": index, "function": piece}]}


def usage(turn: Sampled) -> dict[str, int]:
    return {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
    }


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")

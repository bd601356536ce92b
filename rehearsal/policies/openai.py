"""A policy behind any OpenAI-compatible server: a real model in the loop, which is not trained here."""

import os
from collections.abc import Mapping
from typing import Any

import aiohttp

from rehearsal.policies.base import PolicyError, Sampled


class OpenAIPolicy:
    """Forwards chat requests to `<url>/chat/completions`. The key is read from OPENAI_API_KEY, if set."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise PolicyError(
                f"{url!r} is no URL. Give the base URL of the server, as in openai:http://host/v1."
            )
        self._url = url.rstrip("/") + "/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        body = {**request, "stream": False, "seed": seed & 0x7FFFFFFF}
        body["model"] = os.environ.get("OPENAI_MODEL", body.get("model", "default"))
        try:
            async with self._open().post(self._url, json=body) as answer:
                if answer.status != 200:
                    text = (await answer.text())[:300]
                    raise PolicyError(f"{self._url} answered {answer.status}: {text}")
                raw = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PolicyError(f"{self._url} cannot be used: {error}") from error
        return _sampled(raw, self._url)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            key = os.environ.get("OPENAI_API_KEY")
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            self._session = aiohttp.ClientSession(headers=headers)
        return self._session


def _sampled(raw: Any, url: str) -> Sampled:
    try:
        choice = raw["choices"][0]
        message = dict(choice["message"])
    except (KeyError, IndexError, TypeError):
        raise PolicyError(f"{url} answered something else than a chat completion") from None
    usage = raw.get("usage") or {}
    return Sampled(
        message,
        str(choice.get("finish_reason") or "stop"),
        int(usage.get("prompt_tokens", 0)),
        int(usage.get("completion_tokens", 0)),
    )

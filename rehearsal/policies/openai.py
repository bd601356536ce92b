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
        # Servers refuse `stream_options` without a stream; the stand-in streams by itself.
        kept = {name: value for name, value in request.items() if name != "stream_options"}
        body = {**kept, "stream": False, "seed": seed & 0x7FFFFFFF}
        body["model"] = os.environ.get("OPENAI_MODEL", body.get("model", "default"))
        try:
            async with self._open().post(self._url, json=body) as answer:
                if answer.status != 200:
                    text = (await answer.text())[:300]
                    raise PolicyError(f"{self._url} answered {answer.status}: {text}", status=answer.status)
                raw = await answer.json(content_type=None)
        except PolicyError:
            raise
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PolicyError(f"{self._url} cannot be used: {str(error) or type(error).__name__}") from error
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
        message = {**choice["message"]}
        usage = raw.get("usage") or {}
        finish = str(choice.get("finish_reason") or "stop")
        tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise PolicyError(f"{url} answered something else than a chat completion") from None
    return Sampled(message, finish, *tokens)

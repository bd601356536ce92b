"""A policy of this process in the place of the Job Runtime."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from adapters.contract import EpisodeOver, Policy, PolicyUnavailable, RolloutRequest


class PolicySampler:
    """Implements `recording.Sampler`: the chat request is read as a service would read it, from JSON."""

    request_timeout = 0.0

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def sample(
        self,
        request: RolloutRequest,
        body: bytes,
        *,
        deadline: float,
        first: bool,
        on_uncertain: Callable[[], None],
        before_each: Callable[[], Awaitable[None]],
    ) -> Mapping[str, Any]:
        """Raises PolicyUnavailable if the policy raises."""
        await before_each()
        fields = orjson.loads(body)
        messages, tools = fields.pop("messages"), fields.pop("tools", ())
        try:
            completion = await self._policy.complete(messages, tools, **fields)
        except (EpisodeOver, PolicyUnavailable):
            raise
        except Exception as error:
            raise PolicyUnavailable(f"{type(error).__name__}: {error}") from error
        # As over the wire: what the loop gets shares nothing with the policy.
        raw: Mapping[str, Any] = orjson.loads(orjson.dumps(completion.raw, default=dict))
        return raw

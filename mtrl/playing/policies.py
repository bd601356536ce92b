"""Policies for one episode: the rehearsal's own ones in this process, and scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.contract import Completion, Message, ToolSpec
from rehearsal.policies.base import ServedPolicy
from rehearsal.policies.scripted import ScriptedPolicy
from rehearsal.policies.tiny import TinyPolicy
from rehearsal.service.wire.job_runtime import chat_completion, hash_seed

_BASE = TinyPolicy()
_RANDOM = TinyPolicy(np.zeros_like(_BASE.parameters))


class SeededPolicy:
    """Implements `contract.Policy` with a served policy: the seed of the episode decides every draw."""

    def __init__(self, policy: ServedPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._turn = 0

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        request = {**parameters, "messages": list(messages), "tools": list(tools)}
        sampled = await self._policy.sample(request, hash_seed(self._seed, self._turn))
        self._turn += 1
        return Completion(chat_completion(sampled, "playing"))


def served(policy: ServedPolicy, seed: int) -> SeededPolicy:
    """Any policy of the rehearsal, bound to one episode."""
    return SeededPolicy(policy, seed)


def base_policy(seed: int) -> SeededPolicy:
    """The tiny policy at its prior: what a rehearsal starts from."""
    return SeededPolicy(_BASE, seed)


def random_policy(seed: int) -> SeededPolicy:
    """The tiny policy without any weights: every choice alike."""
    return SeededPolicy(_RANDOM, seed)


def scripted_policy(*messages: Mapping[str, Any] | str) -> SeededPolicy:
    """Assistant messages in order, the last one repeated; a text stands for a message without a tool call."""
    script = [{"content": each} if isinstance(each, str) else each for each in messages]
    return SeededPolicy(ScriptedPolicy(script), 0)

"""One case at the desk, as the policy plays it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Message, Reward, Score, ToolResult, ToolSpec, Transcript
from adapters.environments.service_desk import rewarding, scoring
from adapters.environments.service_desk.customer import Customer
from adapters.environments.service_desk.desk import Desk, Refusal, State
from adapters.environments.service_desk.procedure import SYSTEM, TOOLS, opening
from adapters.environments.service_desk.world import World


class ServiceDeskEpisode:
    """Implements `contract.Episode` over a desk and a customer of its own."""

    def __init__(self, world: World, target: Mapping[str, Any]) -> None:
        self._desk = Desk(world)
        self._customer = Customer(world.script)
        self._target = target
        self.messages: Sequence[Message] = (
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": opening(world)},
        )
        self.tools: Sequence[ToolSpec] = TOOLS

    @property
    def state(self) -> State:
        """All that was written so far (a copy)."""
        return self._desk.state

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        try:
            return ToolResult(json.dumps(self._desk.call(name, arguments)))
        except Refusal as refusal:
            return ToolResult(json.dumps({"error": str(refusal)}), is_error=True)

    async def reply(self, text: str) -> Message | None:
        said = self._customer.reply(text)
        return None if said is None else {"role": "user", "content": said}

    def reward(self, transcript: Transcript) -> Reward:
        return rewarding.reward(transcript, self._desk.journal, self._target)

    def score(self, transcript: Transcript) -> Score:
        return scoring.score(transcript, self._desk.state, self._target)

    def close(self) -> None:
        """Forget everything; see `Desk.close`."""
        self._desk.close()

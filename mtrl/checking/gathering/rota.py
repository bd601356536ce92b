"""Takes turns: policies of several episodes that are open at once, each turn and its tool calls by itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

from adapters.contract import Completion, Message, Policy, ToolSpec


class Rota:
    """Who samples next: nobody before all have opened, then each in order, whoever has ended left out."""

    def __init__(self, members: Sequence[int]) -> None:
        self._members = list(members)
        self._waiting: set[int] = set()
        self._holder: int | None = None
        self._changed = asyncio.Condition()

    async def turn(self, me: int) -> None:
        """Hand on, then wait for the next turn of one's own."""
        async with self._changed:
            self._waiting.add(me)
            self._pass_on(me)
            await self._changed.wait_for(lambda: self._holder == me)
            self._waiting.discard(me)

    async def leave(self, me: int) -> None:
        async with self._changed:
            following = self._after(me)
            self._members.remove(me)
            if self._holder in (me, None):
                self._holder = following if self._waiting >= set(self._members) else None
            self._changed.notify_all()

    def _pass_on(self, me: int) -> None:
        if self._holder == me:
            self._holder = self._after(me)
        elif self._holder is None and self._waiting >= set(self._members):
            self._holder = self._members[0]
        self._changed.notify_all()

    def _after(self, me: int) -> int:
        return self._members[(self._members.index(me) + 1) % len(self._members)]


class OnRota:
    """Implements `contract.Policy`: samples from another one when it is its turn."""

    def __init__(self, policy: Policy, rota: Rota, me: int) -> None:
        self._policy = policy
        self._rota = rota
        self._me = me

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        await self._rota.turn(self._me)
        return await self._policy.complete(messages, tools, **parameters)

"""Makes an exploit small enough to read: delta debugging (Zeller and Hildebrandt, 2002) over turns, calls
and words, as long as it stays an exploit of the same sort."""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mtrl.probing.exploits import Exploit, paid_edit, rewarded_failure
from mtrl.probing.script import Move, Script, answer_of, answered_with
from mtrl.probing.trial import Arena, Trial

T = TypeVar("T")
MAX_PLAYS = 160
"""For one exploit."""
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")


class _Enough(Exception):
    """The plays or the time for this exploit are spent."""


class Minimizer:
    """Shrinks one exploit; the smallest found so far is in `exploit`."""

    def __init__(self, arena: Arena, exploit: Exploit, deadline: float) -> None:
        self._arena = arena
        self._deadline = deadline
        self._left = MAX_PLAYS
        self.exploit = exploit

    async def run(self) -> Exploit:
        """The smallest exploit that was found with the plays and the time at hand."""
        try:
            while True:
                before = self.exploit.trial.script
                await self._turns()
                await self._calls()
                await self._words()
                if self.exploit.trial.script == before:
                    break
        except _Enough:
            pass
        return self.exploit

    async def _turns(self) -> None:
        await shrink(list(self.exploit.trial.script), self._still)

    async def _calls(self) -> None:
        for at, move in enumerate(self.exploit.trial.script):
            if len(move.calls) > 1:
                script = self.exploit.trial.script

                async def still(calls: Sequence[object], at: int = at, script: Script = script) -> bool:
                    edited = replace(script[at], calls=tuple(calls))  # type: ignore[arg-type]
                    return await self._still([*script[:at], edited, *script[at + 1 :]])

                await shrink(list(move.calls), still)

    async def _words(self) -> None:
        script = self.exploit.trial.script

        async def still(tokens: Sequence[str]) -> bool:
            return await self._still(answered_with(script, "".join(tokens)))

        await shrink(_TOKEN.findall(answer_of(script)), still)

    async def _still(self, moves: Sequence[Move]) -> bool:
        """Is it still an exploit of the same sort? Then it is the new smallest."""
        script = tuple(moves)
        if self._left <= 0 or time.monotonic() >= self._deadline:
            raise _Enough
        if not script:
            return False
        self._left -= 1
        trial = await self._arena.play(self.exploit.trial.task, script)
        if not self._holds(trial):
            return False
        self.exploit = replace(self.exploit, trial=trial)
        return True

    def _holds(self, trial: Trial) -> bool:
        terms, base = self._arena.terms, self.exploit.base
        return rewarded_failure(trial, terms) if base is None else paid_edit(base, trial, terms)


async def shrink(items: list[T], still: Callable[[Sequence[T]], Awaitable[bool]]) -> list[T]:
    """Drop ever smaller chunks of `items` as long as `still` holds for the rest."""
    chunk = max(1, len(items) // 2)
    while items:
        at = 0
        while at < len(items):
            rest = items[:at] + items[at + chunk :]
            if await still(rest):
                items = rest
            else:
                at += chunk
        if chunk == 1:
            break
        chunk = max(1, chunk // 2)
    return items

"""Plays a case without a model: a transcript from an answer, and a driver over an episode's tools."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from adapters.contract import Completion, Episode, Steps, Transcript, Turn, Use
from adapters.environments import sop

T = TypeVar("T")

SHIPPED = ("returns_desk", "loan_hardship", "lab_intake")


def transcript(answer: str, *, turns: int = 1) -> Transcript:
    """A transcript whose last turn is `answer`, after turns without text."""
    texts = [""] * (turns - 1) + [answer]
    return Transcript(turns=[Turn(_completion(text)) for text in texts])


def block(fields: Mapping[str, Any]) -> str:
    return f"<final_output>{json.dumps(fields)}</final_output>"


def domain(name: str) -> sop.Domain:
    return sop.load_domain(name, {})


class Desk:
    """Calls tools of an episode and keeps what was called."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self.called: list[str] = []
        self.errors: list[str] = []

    async def ask(self, tool: str, **arguments: str) -> dict[str, Any]:
        """The tool's result, or `{}` if it refused; the refusal is then the last of `errors`."""
        self.called.append(tool)
        result = await self._episode.call(tool, arguments)
        body = json.loads(result.content)
        assert isinstance(body, dict)
        if result.is_error:
            self.errors.append(body["error"])
            return {}
        return body

    async def follow(self, steps: Steps[T]) -> T:
        """Make the moves of a procedure that calls tools only; what it returns."""
        try:
            move = next(steps)
            while True:
                assert isinstance(move, Use)
                body = await self.ask(move.tool, **move.arguments)
                move = steps.send(json.dumps(body or {"error": self.errors[-1]}))
        except StopIteration as end:
            found: T = end.value
            return found


def _completion(text: str) -> Completion:
    return Completion({"choices": [{"message": {"role": "assistant", "content": text}}]})

"""Plays cases of the service desk by hand: an agent that keeps to the procedure, and some that do not."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from adapters.contract import (
    CallRecord,
    Completion,
    Episode,
    Split,
    Steps,
    Task,
    ToolCall,
    Transcript,
    Turn,
    Use,
)
from adapters.environments import service_desk
from adapters.environments.service_desk.demonstration import Clerk
from adapters.environments.service_desk.procedure import ANSWER_FIELDS

T = TypeVar("T")

ENVIRONMENT = service_desk.create({})
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ALL_TASKS: list[Task] = [task for split in SPLITS for task in ENVIRONMENT.tasks("refunds", split)]


class Desk:
    """One episode as its agent sees it; keeps the transcript, and every fact that was told or looked up."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.transcript = Transcript()
        self.refusals: list[str] = []
        self.clerk = Clerk(str(episode.messages[1]["content"]))

    @property
    def facts(self) -> dict[str, str]:
        return self.clerk.facts

    async def use(self, tool: str, **arguments: str) -> dict[str, Any]:
        """The tool's result, or `{}` if it refused; the refusal is then the last of `refusals`."""
        call = ToolCall(f"c{len(self.transcript.turns)}", tool, json.dumps(arguments))
        result = await self.episode.call(tool, arguments)
        turn = Turn(_completion(None), [CallRecord(call, arguments, result)])
        self.transcript.turns.append(turn)
        body = json.loads(result.content)
        assert isinstance(body, dict)
        assert result.is_error == ("error" in body)
        if result.is_error:
            self.refusals.append(body["error"])
            return {}
        return body

    async def say(self, text: str) -> str | None:
        """What the customer says to it."""
        self.transcript.turns.append(Turn(_completion(text)))
        message = await self.episode.reply(text)
        if message is None:
            return None
        assert message["role"] == "user"
        return str(message["content"])

    async def follow(self, steps: Steps[T]) -> T:
        """Make the moves of a clerk; what they come to."""
        try:
            move = next(steps)
            while True:
                if isinstance(move, Use):
                    body = await self.use(move.tool, **move.arguments)
                    move = steps.send(json.dumps(body or {"error": self.refusals[-1]}))
                else:
                    move = steps.send(await self.say(move) or "")
        except StopIteration as end:
            found: T = end.value
            return found

    async def finish(self, answer: str) -> None:
        assert await self.say(answer) is None

    def grades(self) -> tuple[float, float]:
        """Reward and score."""
        reward = self.episode.reward(self.transcript)
        assert len(reward.per_turn) == len(self.transcript.turns)
        return reward.value, self.episode.score(self.transcript).value


Player = Callable[[Desk], Coroutine[Any, Any, None]]


def block(fields: Mapping[str, Any]) -> str:
    return f"<final_output>{json.dumps(fields)}</final_output>"


async def played(task: Task, player: Player) -> tuple[float, float]:
    """Reward and score of a player on a task."""
    async with ENVIRONMENT.open(task) as episode:
        desk = Desk(episode)
        await player(desk)
        return desk.grades()


async def by_the_procedure(desk: Desk) -> None:
    """From what is said and looked up alone to the final output."""
    await desk.finish(await desk.follow(desk.clerk.work()))


async def lazy(desk: Desk) -> None:
    """Answers at once, with the values that are right most often."""
    method = desk.facts["refund_method"]
    fields = ("denied", "0.00", "none", "none"), ("refunded", desk.facts["claimed_amount"], method, "RF-1")
    await desk.finish(block(dict(zip(ANSWER_FIELDS, fields[len(desk.facts["email"]) % 2], strict=True))))


async def denies_all(desk: Desk) -> None:
    """Closes the ticket of whoever it is without a look at the order."""
    await desk.follow(desk.clerk.verify())
    await desk.finish(await desk.follow(desk.clerk.close("denied")))


async def hard_of_hearing(desk: Desk) -> None:
    """By the procedure, but with the refund method of the opening message."""
    clerk = desk.clerk
    found = await desk.follow(clerk.find_order(await desk.follow(clerk.verify())))
    resolution = "denied"
    if found.get("resolution") != "denied":
        resolution = await desk.follow(clerk.settle(found, clerk.facts["refund_method"]))
    await desk.finish(await desk.follow(clerk.close(resolution)))


def _completion(text: str | None) -> Completion:
    return Completion({"choices": [{"message": {"role": "assistant", "content": text}}]})

"""Plays cases of the service desk by hand: an agent that keeps to the procedure, and some that do not."""

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from adapters.contract import CallRecord, Completion, Episode, Split, Task, ToolCall, Transcript, Turn
from adapters.environments import service_desk

ENVIRONMENT = service_desk.create({})
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ALL_TASKS: list[Task] = [task for split in SPLITS for task in ENVIRONMENT.tasks("refunds", split)]


class Desk:
    """One episode as its agent sees it; keeps the transcript, and every fact that was told or looked up."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.transcript = Transcript()
        self.refusals: list[str] = []
        self.facts: dict[str, str] = {}
        self._hear(str(episode.messages[1]["content"]))

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
        self._hear(message["content"])
        return str(message["content"])

    async def ask(self, name: str) -> None:
        await self.say(f"Please tell me your {name}.")

    async def finish(self, fields: Mapping[str, Any]) -> None:
        assert await self.say(block(fields)) is None

    def grades(self) -> tuple[float, float]:
        """Reward and score."""
        reward = self.episode.reward(self.transcript)
        assert len(reward.per_turn) == len(self.transcript.turns)
        return reward.value, self.episode.score(self.transcript).value

    def _hear(self, text: str) -> None:
        lines = (line.partition(": ") for line in text.splitlines())
        self.facts |= {name: value for name, colon, value in lines if colon}


Player = Callable[[Desk], Coroutine[Any, Any, None]]


def block(fields: Mapping[str, Any]) -> str:
    return f"<final_output>{json.dumps(fields)}</final_output>"


async def played(task: Task, player: Player) -> tuple[float, float]:
    """Reward and score of a player on a task."""
    async with ENVIRONMENT.open(task) as episode:
        desk = Desk(episode)
        await player(desk)
        return desk.grades()


async def verify(desk: Desk) -> str:
    """Sections 1 and 2 of the procedure; the account."""
    account = (await desk.use("find_account", email=desk.facts["email"]))["account_id"]
    await desk.ask("postcode")
    if "postcode" not in desk.facts:
        await desk.ask("postcode")
    assert await desk.use("verify_customer", account_id=account, postcode=desk.facts["postcode"])
    return str(account)


async def find_order(desk: Desk, account: str) -> dict[str, Any]:
    """Sections 3 and 4: what check_policy says of the customer's order."""
    await desk.ask("order_id")
    order = desk.facts.get("order_id")
    if order is None:
        listed = await desk.use("list_orders", account_id=account, item=desk.facts["item"])
        order = listed["orders"][0]["order_id"]
    found = await desk.use("check_policy", order_id=order)
    if not found:
        assert "is of another account" in desk.refusals[-1]
        await desk.ask("order_id")
        found = await desk.use("check_policy", order_id=desk.facts["order_id"])
    return found


async def settle(desk: Desk, found: Mapping[str, Any], method: str) -> str:
    """Sections 6 and 7; the resolution."""
    order, ticket = found["order_id"], desk.facts["ticket_id"]
    amount = found["refund_amount"]
    if await desk.use("issue_refund", order_id=order, refund_amount=amount, refund_method=method):
        return "refunded"
    assert "Call escalate" in desk.refusals[-1]
    assert await desk.use("escalate", ticket_id=ticket, order_id=order, refund_method=method)
    return "escalated"


async def close(desk: Desk, resolution: str) -> None:
    """Sections 8 and 9."""
    closed = await desk.use("update_ticket", ticket_id=desk.facts["ticket_id"], resolution=resolution)
    await desk.finish({name: closed[name] for name in ANSWER})


ANSWER = ("resolution", "refund_amount", "refund_method", "reference")


async def by_the_procedure(desk: Desk) -> None:
    """From what is said and looked up alone to the final output."""
    found = await find_order(desk, await verify(desk))
    resolution = "denied"
    if found["final_sale"] == "no" and found["days_since_delivery"] <= 30:
        await desk.ask("refund_method")
        resolution = await settle(desk, found, desk.facts["refund_method"])
    await close(desk, resolution)


async def lazy(desk: Desk) -> None:
    """Answers at once, with the values that are right most often."""
    method = desk.facts["refund_method"]
    fields = ("denied", "0.00", "none", "none"), ("refunded", desk.facts["claimed_amount"], method, "RF-1")
    await desk.finish(dict(zip(ANSWER, fields[len(desk.facts["email"]) % 2], strict=True)))


async def denies_all(desk: Desk) -> None:
    """Closes the ticket of whoever it is without a look at the order."""
    await verify(desk)
    await close(desk, "denied")


async def hard_of_hearing(desk: Desk) -> None:
    """By the procedure, but with the refund method of the opening message."""
    found = await find_order(desk, await verify(desk))
    denied = found.get("resolution") == "denied"
    await close(desk, "denied" if denied else await settle(desk, found, desk.facts["refund_method"]))


def _completion(text: str | None) -> Completion:
    return Completion({"choices": [{"message": {"role": "assistant", "content": text}}]})

"""What the tests of the shared ledger have in common: clocks, a table, a network that loses things."""

import asyncio
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from adapters.contract import Outcome, StopReason
from adapters.runtime.dynamo_ledger import DynamoClaim, DynamoLedger, dynamo_client
from tests.aws import REGION, client, ministack

Item = dict[str, dict[str, Any]]
Request = dict[str, Any]
REQUEST, SKEW = 20.0, 5.0
PARTS = re.compile(r"attribute_not_exists\(#(\w+)\)|#(\w+) (=|<=|<) (:\w+)|\(|\)|AND|OR|\S+")
LEASE = 2 * REQUEST + 30
OUTCOME = Outcome(StopReason.ANSWERED, "ready", (0.1 + 0.2, -1.0, 1), score=1 / 3, turns=3)
KEYS = (f"arn:aws:sagemaker:us-west-2:111122223333:job/j/{n}" for n in itertools.count())


@dataclass
class Clock:
    """One worker's two clocks, and a sleep that ends when the test says so."""

    now: float = 1000.0
    wall_offset: float = 1.7e9
    pauses: list[float] = field(default_factory=list)
    beats: "asyncio.Queue[None]" = field(default_factory=asyncio.Queue)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_offset

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.beats.get()

    async def beat(self, seconds: float) -> None:
        """Let `seconds` pass, then one renewal happen."""
        await asyncio.sleep(0)  # a heartbeat that was just made comes to its first pause
        self.now += seconds
        asked, beating = len(self.pauses), len(heartbeats())
        self.beats.put_nowait(None)
        for _ in range(4000):
            if len(self.pauses) > asked or len(heartbeats()) < beating:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("no renewal")


class Proxy:
    """Stands between the client and the emulator, and loses what it is told to lose."""

    def __init__(self, url: str) -> None:
        self._upstream = int(url.rpartition(":")[2])
        self.lose_answers = 0
        self.refuse = False
        self.open = asyncio.Event()
        self.open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        up = asyncio.create_task(self._pass_on(reader, up_writer, answers=False))
        try:
            await self._pass_on(up_reader, writer, answers=True)
        except asyncio.CancelledError:
            pass  # by `stop`; asyncio's own callback would print it
        finally:
            up.cancel()
            writer.close()
            up_writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self.open.wait()
                if self.refuse:
                    break
                if answers and self.lose_answers:
                    self.lose_answers -= 1
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


def heartbeats() -> list["asyncio.Task[Any]"]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("lease ")]


class Slow:
    """A client whose every request takes some time on the worker's clock."""

    def __init__(self, dynamo: Any, clock: Clock, seconds: float) -> None:
        self._dynamo, self._clock, self._seconds = dynamo, clock, seconds

    def update_item(self, **request: Any) -> Any:
        answer = self._dynamo.update_item(**request)
        self._clock.now += self._seconds
        return answer


@contextmanager
def emulator(log: Path) -> Iterator[str]:
    """The emulator with the table, and the environment for clients of it."""
    with ministack(log) as url, pytest.MonkeyPatch.context() as patch:
        client("dynamodb", url).create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": "rollout", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "rollout", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        yield url


def connect(url: str) -> Any:
    return dynamo_client(REGION, url)


def worker(dynamo: Any, clock: Clock, owner: str = "one", **terms: Any) -> DynamoLedger:
    return DynamoLedger(
        dynamo,
        "ledger",
        owner=owner,
        request_timeout=REQUEST,
        skew=SKEW,
        monotonic=clock.monotonic,
        wall_clock=clock.wall,
        sleep=clock.sleep,
        **terms,
    )


async def claimed(ledger: DynamoLedger, key: str) -> DynamoClaim:
    claim = await ledger.claim(key)
    assert isinstance(claim, DynamoClaim)
    return claim


def item(dynamo: Any, key: str) -> dict[str, Any]:
    found: dict[str, Any] = dynamo.get_item(TableName="ledger", Key={"rollout": {"S": key}})["Item"]
    return found


def plain(value: dict[str, Any]) -> Any:
    (kind, content), *_ = value.items()
    return float(content) if kind == "N" else content


def holds(condition: str, item: Item, values: Item) -> bool:
    """Evaluate a condition expression; a comparison with a missing attribute is false."""

    words = []
    for part in PARTS.finditer(condition):
        absent, name, sign, value = part.groups()
        if absent:
            words.append(str(absent not in item))
        elif name:
            words.append(str(name in item and compare(sign, plain(item[name]), plain(values[value]))))
        else:
            words.append(part.group().lower())
    return truth(" ".join(words))


def compare(sign: str, left: Any, right: Any) -> bool:
    return bool(left == right if sign == "=" else left <= right if sign == "<=" else left < right)


def truth(words: str) -> bool:
    """Work out `True and ( False or True )`, the innermost parentheses first."""
    while inner := re.search(r"\(([^()]*)\)", words):
        words = words[: inner.start()] + str(truth(inner.group(1))) + words[inner.end() :]
    return any(all(word.strip() == "True" for word in term.split(" and ")) for term in words.split(" or "))


class Table:
    """One item, and the history of it."""

    def __init__(self) -> None:
        self.item: Item = {}
        self.history: list[Item] = [{}]

    def update(self, request: Request) -> Any:
        values = request["ExpressionAttributeValues"]
        if not holds(request["ConditionExpression"], self.item, values):
            error = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": self.item}
            raise ClientError(error, "UpdateItem")
        item = {**self.item, **request["Key"]}
        clauses = re.split(r"\b(SET|ADD|REMOVE)\b", request["UpdateExpression"])
        for kind, body in zip(clauses[1::2], clauses[2::2], strict=True):
            for action in body.split(","):
                name, *rest = re.findall(r"[#:](\w+)", action)
                if kind == "REMOVE":
                    item.pop(name, None)
                elif kind == "SET":
                    item[name] = values[":" + rest[0]]
                else:
                    total = int(item.get(name, {"N": 0})["N"]) + int(values[":" + rest[0]]["N"])
                    item[name] = {"N": str(total)}
        self.item = item
        self.history.append(item)
        return {"Attributes": item}

"""The relays of the chaos bench pass on what they should, and do the harm that they are told to do."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from adapters.contract.headers import TRAJECTORY_HEADER
from bench.chaos_kit.aws_relay import AwsRelay
from bench.chaos_kit.relay import Relay
from bench.chaos_kit.wire import Record, Wire

SEND = {"X-Amz-Target": "AmazonSQS.SendMessage"}
SAMPLE = {"messages": [{"role": "user"}, {"role": "assistant"}, {"role": "tool"}]}


class Target:
    """What stands behind a relay: remembers what came."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.hold = asyncio.Event()
        self.hold.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Target"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        await self.hold.wait()
        return web.Response(status=201, text=request.path_qs, headers={"X-Own": "kept"})


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_what_passes_is_unchanged() -> None:
    async with Target().serving() as target, Relay(target.url).serving() as relay:
        async with (
            aiohttp.ClientSession() as client,
            client.put(f"{relay.url}/a%2Fb?c=d", data=b"e") as answer,
        ):
            assert (answer.status, await answer.text()) == (201, "/a%2Fb?c=d")
            assert answer.headers["X-Own"] == "kept"
        assert target.bodies == [b"e"]


async def test_a_service_that_is_down_refuses_and_comes_back_at_its_port() -> None:
    async with (
        Target().serving() as target,
        Relay(target.url).serving() as relay,
        aiohttp.ClientSession() as client,
    ):
        target.hold.clear()
        in_flight = asyncio.create_task(client.post(relay.url, data=b"1"))
        await until(lambda: len(target.bodies) == 1)
        down = asyncio.create_task(relay.down(0.3))
        with pytest.raises(aiohttp.ClientError):
            await in_flight
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.post(relay.url, data=b"2")
        await down
        target.hold.set()
        assert (await client.post(relay.url, data=b"3")).status == 201
        assert target.bodies == [b"1", b"3"]


async def test_a_share_of_the_calls_fails_in_each_way() -> None:
    async with Target().serving() as target, AwsRelay(target.url, random.Random(1)).serving() as relay:
        relay.fails = 1.0
        seen = []
        async with aiohttp.ClientSession() as client:
            for n in range(30):
                try:
                    seen.append((await client.post(relay.url, data=f"{n}".encode())).status)
                except aiohttp.ClientError:
                    seen.append(0)
        assert set(seen) == {0, 503}
        assert relay.failed == 30
        # Some of those that were cut took effect.
        assert 0 < len(target.bodies) < seen.count(0)


async def test_a_message_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.chaos_kit.aws_relay.LATER_SECONDS", 0.0)
    async with Target().serving() as target, AwsRelay(target.url, random.Random(1)).serving() as relay:
        relay.twice = 1.0
        async with aiohttp.ClientSession() as client:
            await client.post(relay.url, data=b"m", headers=SEND)
            await client.post(relay.url, data=b"other")
        await until(lambda: len(target.bodies) == 3)
        assert sorted(target.bodies) == [b"m", b"m", b"other"]
        assert (relay.sent, relay.doubled) == (1, 1)


async def test_a_call_is_written_down_and_known_to_be_in_flight() -> None:
    record = Record()
    async with Target().serving() as target, Wire(target.url, record, 2).serving() as wire:
        async with aiohttp.ClientSession() as client:
            await client.post(f"{wire.url}/sample", json=SAMPLE, headers={TRAJECTORY_HEADER: "t"})
        (call,) = record.calls
        assert (call.trajectory, call.operation, call.turn, call.who) == ("t", "sample", 1, (2, 0))
        assert (call.status, call.delivered) == (201, True)
        assert (record.in_flight(), record.in_flight((2, 0)), record.in_flight((1, 0))) == (1, 1, 0)


async def test_an_answer_that_nobody_waits_for_is_not_delivered() -> None:
    record = Record()
    async with Target().serving() as target, Wire(target.url, record, 0).serving() as wire:
        target.hold.clear()
        with pytest.raises(TimeoutError):
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as client:
                await client.post(f"{wire.url}/sample", json=SAMPLE, headers={TRAJECTORY_HEADER: "t"})
        target.hold.set()
        await until(lambda: record.calls[0].status is not None)
        assert not record.calls[0].delivered

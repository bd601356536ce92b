"""Credentials that rotate: a real provider gets them, and what was signed with a dead key is refused."""

import asyncio
import random
from base64 import b64encode
from collections.abc import Callable
from itertools import count

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ContainerProvider, Credentials

from adapters.contract.headers import TRAJECTORY_HEADER
from adapters.runtime.auth import mint_token
from bench.chaos_kit.aws_relay import AwsRelay
from bench.chaos_kit.guards import RejectOnce, Rotation
from bench.chaos_kit.keys import BEARER, OVERLAP_SECONDS, Issuer, key_of
from bench.chaos_kit.wire import Call, Record, Wire
from tests.faults.test_relay import SAMPLE, Target


def bearer(key: str) -> str:
    return f"Bearer {mint_token(Credentials(key, 'secret', 'session'), 'us-west-2')}"


def signature(key: str) -> str:
    request = AWSRequest("POST", "http://127.0.0.1/", {}, b"body")
    SigV4Auth(Credentials(key, "secret"), "sqs", "us-west-2").add_auth(request)
    return str(request.headers["Authorization"])


def test_the_key_is_found_in_a_token_and_in_a_signature() -> None:
    assert key_of(bearer("KEYONE")) == "KEYONE"
    assert key_of(signature("KEYTWO")) == "KEYTWO"
    nonsense = BEARER + b64encode(b"no presigned url").decode()
    assert [key_of(told) for told in (None, "", "Basic x", f"{BEARER}%", nonsense)] == [None] * 5


def test_only_the_last_key_is_taken_and_for_a_while_the_one_before() -> None:
    now = 1000.0
    issuer = Issuer(10.0, clock=lambda: now)
    first = issuer.current
    assert issuer.takes(bearer(first))
    issuer.rotate()
    now += OVERLAP_SECONDS - 0.1
    assert issuer.takes(bearer(first))
    assert issuer.takes(signature(issuer.current))
    now += 0.2
    assert not issuer.takes(bearer(first))
    assert not issuer.takes(signature("SOMEBODYS"))
    issuer.rotate()
    assert not issuer.takes(bearer(first)), "two keys ago"


async def test_the_provider_of_a_container_gets_the_new_key_when_the_old_one_is_due() -> None:
    async with Issuer(0.0).serving() as issuer:
        credentials = await asyncio.to_thread(ContainerProvider(environ=issuer.environ()).load)
        seen = []
        for _ in range(2):
            frozen = await asyncio.to_thread(credentials.get_frozen_credentials)
            seen.append((frozen.access_key == issuer.current, frozen.access_key))
            issuer.rotate()
        assert [good for good, _ in seen] == [True, True]
        assert seen[0] != seen[1]


async def test_a_worker_with_a_dead_token_is_turned_away_and_does_not_reach_the_service() -> None:
    record, issuer = Record(), Issuer(10.0)
    old = issuer.current
    issuer.rotate()
    issuer.rotate()
    guard = Rotation(issuer)
    async with (
        Target().serving() as target,
        Wire(target.url, record, 0, guard).serving() as wire,
        aiohttp.ClientSession() as client,
    ):
        for key in (old, issuer.current):
            headers = {TRAJECTORY_HEADER: "t", "Authorization": bearer(key)}
            await client.post(f"{wire.url}/sample", json=SAMPLE, headers=headers)
        assert [call.status for call in record.calls] == [403, 201]
        assert len(target.bodies) == 1
        assert guard.turned_away == {"t"}


async def test_an_aws_call_with_a_dead_key_is_refused_and_counted() -> None:
    issuer = Issuer(10.0)
    async with (
        Target().serving() as target,
        AwsRelay(target.url, random.Random(1), issuer).serving() as relay,
        aiohttp.ClientSession() as client,
    ):
        for key in (issuer.current, "SOMEBODYS"):
            await client.post(relay.url, data=b"x", headers={"Authorization": signature(key)})
        assert (relay.expired, len(target.bodies)) == (1, 1)


def refused(name: str, share: float, tokens: Callable[[int], str]) -> list[tuple[str, int]]:
    """What is refused of an episode; `tokens` gives the token after so many refusals."""
    now = count(0.0, 1.0)
    guard = RejectOnce(share, 5, clock=lambda: next(now))
    guard.refuses(Call("another", "sample", (0, 1), 0.0), tokens(0))
    guard.refuses(Call("another", "sample", (0, 1), 0.0), tokens(0))
    told: list[tuple[str, int]] = []
    calls = [Call(name, "sample", (0, 1), 0.0, turn=turn) for turn in range(5) for _ in range(2)]
    calls += [Call(name, operation, (0, 1), 0.0) for operation in ("complete", "reward") for _ in range(2)]
    for each in calls:
        if guard.refuses(each, tokens(len(told))):
            told.append((each.operation, each.turn))
    assert guard.turned_away - {"another"} == ({name} if told else set())
    return told


def test_one_call_of_each_chosen_trajectory_is_refused_once() -> None:
    seen = set()
    for name in map(str, range(100)):
        (once,) = refused(name, 1.0, str)
        seen.add(once)
    assert seen == {("sample", turn) for turn in range(1, 5)} | {("complete", 0), ("reward", 0)}
    assert not refused("any", 0.0, str)
    assert 20 < sum(bool(refused(str(n), 0.5, str)) for n in range(100)) < 80


def test_the_same_token_is_refused_again() -> None:
    for name in map(str, range(20)):
        assert len(refused(name, 1.0, lambda _: "same")) > 1


def test_a_token_that_was_just_made_is_spared() -> None:
    guard = RejectOnce(1.0, 5, clock=lambda: 0.0)
    calls = [Call("t", "sample", (0, 1), 0.0, turn=turn) for turn in range(5)]
    calls += [Call("t", operation, (0, 1), 0.0) for operation in ("complete", "reward")]
    assert not any(guard.refuses(each, "new") for each in calls)

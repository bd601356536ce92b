"""One credential source for all rollouts; tokens that the service takes and that follow a rotation."""

import asyncio
import base64
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from adapters.runtime.auth import REUSE_SECONDS, BearerAuthorizer, SigV4Authorizer, mint_token
from adapters.runtime.fakes import Answer, FakeJobRuntime, assistant, tool_call
from rehearsal.service.wire.auth import refusal
from tests.runtime.kit import REGION, adapter, request

MODES = [BearerAuthorizer, SigV4Authorizer]
URL = "https://job-runtime.sagemaker.us-west-2.api.aws/sample"


class Provider:
    """What a container's credential endpoint is to botocore: slow, and new keys on each call."""

    def __init__(self, seconds: float = 3600) -> None:
        self.fetched = 0
        self.seconds = seconds
        self.threads: set[int] = set()

    def fetch(self) -> dict[str, str]:
        self.fetched += 1
        self.threads.add(threading.get_ident())
        expiry = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return {
            "access_key": f"AKID{self.fetched}",
            "secret_key": "secret",
            "token": f"session{self.fetched}",
            "expiry_time": expiry.isoformat(),
        }

    def credentials(self) -> Any:
        first = self.fetch() | {"expiry_time": datetime.now(UTC).isoformat()}
        self.fetched = 0
        self.threads.clear()
        return RefreshableCredentials.create_from_metadata(first, self.fetch, "fake")


def key_of(authorization: str) -> str:
    """The access key that a header was signed with."""
    if authorization.startswith("Bearer "):
        token = authorization.removeprefix("Bearer sagemaker-api-key-")
        query = parse_qs(urlsplit("https://" + base64.b64decode(token).decode()).query)
        return query["X-Amz-Credential"][0].split("/")[0]
    return authorization.split("Credential=")[1].split("/")[0]


@pytest.mark.parametrize("mode", MODES)
async def test_one_fetch_for_96_rollouts(service: FakeJobRuntime, mode: Any) -> None:
    provider = Provider()
    service.policy = lambda seen: (
        assistant() if len(seen.body["messages"]) > 2 else assistant(None, tool_call("look"))
    )
    authorizer = mode(provider.credentials(), REGION)
    async with adapter(service, authorizer=authorizer) as own:
        await asyncio.gather(*(own.rollouts.run(request(f"r{n}")) for n in range(96)))
    assert provider.fetched == 1
    assert threading.get_ident() not in provider.threads, "fetched on the event loop"
    assert len(service.rewards) == 96
    assert {refusal(seen.headers["Authorization"], REGION) for seen in service.seen} == {None}
    assert {key_of(seen.headers["Authorization"]) for seen in service.seen} == {"AKID1"}


@pytest.mark.parametrize("mode", MODES)
async def test_a_403_signs_again_with_rotated_credentials(service: FakeJobRuntime, mode: Any) -> None:
    provider = Provider(seconds=1)  # always due: each look at the credentials rotates them
    service.script("sample", Answer(403))
    async with adapter(service, authorizer=mode(provider.credentials(), REGION)) as own:
        assert (await own.rollouts.run(request())).stop_reason == "answered"
    keys = [key_of(seen.headers["Authorization"]) for seen in service.seen]
    assert keys[0] != keys[1]
    assert len(set(keys[1:])) == 1
    assert own.delays == []


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_cached_is_made_anew_after_a_while(mode: Any) -> None:
    provider, now = Provider(seconds=1), [0.0]
    authorizer = mode(provider.credentials(), REGION, clock=lambda: now[0])
    keys = []
    for at in (0.0, REUSE_SECONDS - 1, REUSE_SECONDS + 1):
        now[0] = at
        assert (authorizer.at_once("POST", URL, {}, b"") is None) == (at != REUSE_SECONDS - 1)
        keys.append(key_of((await authorizer.headers("POST", URL, {}, b""))["Authorization"]))
    assert keys[0] == keys[1] != keys[2]


def test_a_token_is_refused_for_another_region_and_after_its_time() -> None:
    token = "Bearer " + mint_token(Credentials("AKID", "secret", "session"), REGION)
    assert refusal(token, REGION) is None
    assert refusal(token, "us-east-1") is not None
    assert refusal(token, REGION, now=datetime.now(UTC).timestamp() + 901) is not None
    assert "secret" not in base64.b64decode(token.split("key-")[1]).decode()


async def test_sigv4_covers_body_and_headers() -> None:
    authorizer = SigV4Authorizer(Credentials("AKID", "secret", "session"), REGION)
    given = {"X-Amzn-SageMaker-Trajectory-Id": "r1"}
    one = await authorizer.headers("POST", URL, given, b"one")
    other = await authorizer.headers("POST", URL, given, b"other")
    assert given == {"X-Amzn-SageMaker-Trajectory-Id": "r1"}
    assert one["X-Amz-Security-Token"] == "session"
    assert "x-amzn-sagemaker-trajectory-id" in one["Authorization"]
    assert one["Authorization"] != other["Authorization"]

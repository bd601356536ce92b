"""Sample has no idempotency token: which failures are safe to repeat, and which leave a turn in doubt."""

import asyncio
import time
from typing import Any

import pytest

from adapters.contract import PolicyUnavailable, Reward
from adapters.runtime import job_runtime
from adapters.runtime.fakes import Answer, FakeEnvironment, FakeJobRuntime, assistant, tool_call
from adapters.runtime.job_runtime import JobRuntime, open_session
from tests.runtime.kit import Adapter, OpenAuthorizer, adapter, request

RESET, LOST, HANG = Answer(fault="reset"), Answer(fault="lost"), Answer(fault="hang")
UNCERTAIN = [
    RESET,
    LOST,
    HANG,
    Answer(500),
    Answer(503),
    Answer(204),
    Answer(200, b"{half"),
    Answer(200, b"[]"),
    Answer(200, b'{"choices": []}'),
    Answer(200, b'{"choices": [{"message": "text"}]}'),
]


def two_turns(seen: Any) -> dict[str, Any]:
    sampled = any(message["role"] == "assistant" for message in seen.body["messages"])
    return assistant("done") if sampled else assistant(None, tool_call("look"))


async def rollout(own: Adapter) -> tuple[str, int]:
    outcome = await own.rollouts.run(request())
    return outcome.stop_reason, own.metrics()["UncertainSamples"]


async def test_throttling_is_waited_for_and_leaves_no_doubt(service: FakeJobRuntime) -> None:
    service.policy = two_turns
    service.script("sample", None, Answer(429, headers={"Retry-After": "7"}), *[Answer(429)] * 4)
    async with adapter(service) as own:
        assert await rollout(own) == ("answered", 0)
    assert 7 <= own.delays[0] <= 7 + job_runtime.BACKOFF_BASE_SECONDS
    assert all(delay <= job_runtime.BACKOFF_CAP_SECONDS for delay in own.delays[1:])
    assert service.count("sample") == 7


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2099 07:28:00 GMT", "-5", "nan", "x"])
async def test_a_retry_after_that_says_nothing_is_passed_over(service: FakeJobRuntime, value: str) -> None:
    service.script("sample", Answer(429, headers={"Retry-After": value}))
    async with adapter(service) as own:
        assert await rollout(own) == ("answered", 0)
    assert own.delays[0] <= job_runtime.BACKOFF_BASE_SECONDS


async def test_a_retry_after_beyond_the_deadline_ends_the_rollout_now(service: FakeJobRuntime) -> None:
    service.policy = two_turns
    service.script("sample", None, Answer(429, headers={"Retry-After": "3600"}))
    async with adapter(service) as own:
        assert await rollout(own) == ("policy_unavailable", 0)
    assert own.delays == []


async def test_a_refused_connection_is_retried_without_doubt(service: FakeJobRuntime) -> None:
    gone = FakeJobRuntime()
    async with gone:
        pass
    uncertain: list[int] = []
    attempts = 0

    async def sleep(_: float) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            runtime._endpoint = service.url

    async with open_session(4) as session:
        runtime = JobRuntime(session, gone.url, OpenAuthorizer(), timeout=5, uncertain_retries=0, sleep=sleep)
        for first in (True, False):
            attempts, runtime._endpoint = 0, gone.url
            raw = await runtime.sample(
                request(),
                b'{"messages": []}',
                deadline=time.monotonic() + 60,
                first=first,
                on_uncertain=lambda: uncertain.append(1),
            )
            assert raw["choices"]
            assert attempts == 3
    assert uncertain == []


@pytest.mark.parametrize("fault", UNCERTAIN, ids=str)
async def test_a_turn_in_doubt_is_repeated_once(service: FakeJobRuntime, fault: Answer) -> None:
    service.policy = two_turns
    service.script("sample", None, fault)
    async with adapter(service, sample_timeout=0.5) as own:
        assert await rollout(own) == ("answered", 1)
    assert service.count("sample") == 3


@pytest.mark.parametrize("fault", [RESET, Answer(500), Answer(200, b"x")], ids=str)
@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_a_turn_in_doubt_is_repeated_as_often_as_set(
    service: FakeJobRuntime, fault: Answer, retries: int
) -> None:
    service.policy = two_turns
    service.script("sample", None, *[fault] * 9)
    async with adapter(service, uncertain_retries=retries) as own:
        assert await rollout(own) == ("policy_unavailable", retries + 1)
    assert service.count("sample") == 1 + 1 + retries
    assert service.seals == {"r1": "ready"}


async def test_the_first_sample_is_repeated_beyond_that(service: FakeJobRuntime) -> None:
    service.script("sample", *[RESET] * 9)
    async with adapter(service, uncertain_retries=1) as own:
        assert await rollout(own) == ("answered", 9)


@pytest.mark.parametrize(
    ("fault", "rewards"), [(None, (0.1, 0.3)), (Answer(429), (0.1, 0.3)), (LOST, (0.4,))]
)
async def test_per_turn_rewards_fall_back_to_one_when_in_doubt(
    service: FakeJobRuntime, fault: Answer | None, rewards: tuple[float, ...]
) -> None:
    service.policy = two_turns
    service.script("sample", None, fault)
    environment = FakeEnvironment(reward=Reward(0.4, per_turn=(0.1, 0.3)))
    async with adapter(service, environment, rewards="turn") as own:
        assert (await own.rollouts.run(request())).rewards == rewards
    assert service.breaches == []


async def test_redirects_are_not_followed(service: FakeJobRuntime) -> None:
    async with FakeJobRuntime() as other:
        service.script("sample", Answer(307, headers={"Location": other.url + "/sample"}))
        async with adapter(service) as own:
            assert await rollout(own) == ("policy_unavailable", 0)
    assert other.seen == []


class NoCredentials(OpenAuthorizer):
    """Fails `failures` times, as a credential provider does while its endpoint restarts."""

    def __init__(self, failures: int, hang: bool = False) -> None:
        super().__init__()
        self.failures = failures
        self.hang = hang

    async def headers(self, *_: Any) -> dict[str, str]:
        if self.failures:
            self.failures -= 1
            if self.hang:
                await asyncio.Event().wait()
            raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
        return {}


@pytest.mark.parametrize("hang", [False, True])
async def test_a_credential_provider_that_fails_for_a_while_costs_nothing(
    service: FakeJobRuntime, hang: bool
) -> None:
    async with adapter(service, authorizer=NoCredentials(3, hang), sample_timeout=0.1) as own:
        assert await rollout(own) == ("answered", 0)


async def test_credentials_that_are_refused_are_renewed_once_for_a_later_sample(
    service: FakeJobRuntime,
) -> None:
    service.policy = two_turns
    service.script("sample", None, Answer(403))
    async with adapter(service) as own:
        assert await rollout(own) == ("answered", 0)
        assert own.authorizer.renewed == 1
        assert own.delays == []
    signed = [seen.headers["Authorization"] for seen in service.seen]
    assert signed[:3] == ["Bearer 0", "Bearer 0", "Bearer 1"]


async def test_no_attempt_starts_after_the_deadline(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        with pytest.raises(PolicyUnavailable):
            await own.runtime.sample(
                request(), b"{}", deadline=time.monotonic(), first=True, on_uncertain=lambda: None
            )
    assert service.seen == []


async def test_both_headers_and_the_sampling_parameters_are_sent(service: FakeJobRuntime) -> None:
    params = {"temperature": 0.25, "topP": 0.5, "maxTokens": 77}
    async with adapter(service) as own:
        await own.rollouts.run(request("r-7", inferenceParams=params))
    (sample,) = [seen for seen in service.seen if seen.operation == "sample"]
    assert (sample.rollout_id, sample.job_arn) == ("r-7", request().job_arn)
    assert (sample.body["temperature"], sample.body["top_p"], sample.body["max_tokens"]) == (0.25, 0.5, 77)
    assert sample.body["tools"][0]["function"]["name"] == "look"

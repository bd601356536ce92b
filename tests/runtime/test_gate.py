"""Nothing in a request decides where credentials go."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.contract import RefusedError, RolloutRequest
from adapters.runtime import gate
from adapters.runtime.fakes import FakeJobRuntime
from adapters.runtime.settings import Settings
from tests.runtime.kit import ACCOUNT, BASE, JOB, adapter, wire

HOST = "job-runtime.sagemaker.us-west-2.api.aws"
HOSTILE = [
    "https://evil.example",
    "https://job-runtime.sagemaker.us-east-1.api.aws",
    f"https://user:pw@{HOST}",
    f"https://{HOST}@evil.example",
    f"https://{HOST}.evil.example",
    f"https://evil-{HOST}",
    f"https://{HOST}:8443",
    f"https://{HOST}:443@evil.example",
    f"https://{HOST}/v1",
    f"https://{HOST}//",
    f"https://{HOST}?x=1",
    f"https://{HOST}#x",
    f"https://{HOST}\\@evil.example",
    f"http://{HOST}",
    f"//{HOST}",
    HOST,
    "https://" + HOST.replace("sagemaker", "s\u0430gemaker"),
    "https://" + HOST.replace(".api", "\u3002api"),
    f" https://{HOST}",
    f"https://{HOST}\n",
    f"https://{HOST}\r\nHost: evil.example",
    f"https://{HOST}.",
    f"https://{HOST.upper()}",
    f"HTTPS://{HOST}",
    "https://169.254.169.254",
    "http://127.0.0.1:1",
    "file:///etc/passwd",
    "https://[::1",
    " ",
    "\x00",
]


def settings(**changes: Any) -> Settings:
    return replace(BASE, **changes)


def asking(job: str = JOB, **metadata: Any) -> RolloutRequest:
    payload = wire(job=job)
    payload["metadata"] |= metadata
    return RolloutRequest.from_wire(payload)


@pytest.mark.parametrize("endpoint", HOSTILE)
@pytest.mark.parametrize("configured", [None, "https://proxy.internal"])
def test_a_foreign_endpoint_is_refused(endpoint: str, configured: str | None) -> None:
    with pytest.raises(RefusedError) as caught:
        gate.check(asking(endpoint=endpoint), settings(endpoint=configured))
    assert caught.value.field == "metadata.endpoint"
    assert endpoint.strip("\x00 /") == "" or endpoint not in str(caught.value)


@pytest.mark.parametrize(
    ("region", "partition", "suffixes"),
    [
        ("us-west-2", "aws", ["api.aws", "amazonaws.com"]),
        ("us-gov-west-1", "aws-us-gov", ["api.aws", "amazonaws.com"]),
        ("cn-north-1", "aws-cn", ["api.amazonwebservices.com.cn", "amazonaws.com.cn"]),
    ],
)
def test_both_spellings_of_the_own_region_are_accepted(
    region: str, partition: str, suffixes: list[str]
) -> None:
    own = settings(region=region)
    job = f"arn:{partition}:sagemaker:{region}:{ACCOUNT}:job/AgentRFT/desk-1"
    for suffix in suffixes:
        for tail in ("", "/"):
            endpoint = f"https://job-runtime.sagemaker.{region}.{suffix}{tail}"
            gate.check(asking(job, endpoint=endpoint, region=region), own)
    assert gate.job_runtime_endpoint(own) == f"https://job-runtime.sagemaker.{region}.{suffixes[0]}"
    with pytest.raises(RefusedError):
        gate.check(asking(job, endpoint=f"https://job-runtime.sagemaker.{region}.evil.cn"), own)


@pytest.mark.parametrize(
    ("job", "changes", "metadata", "field"),
    [
        (JOB.replace(ACCOUNT, "999999999999"), {}, {}, "metadata.jobArn"),
        (JOB.replace("us-west-2", "us-east-1"), {}, {}, "metadata.jobArn"),
        (JOB.replace("arn:aws:", "arn:aws-cn:"), {}, {}, "metadata.jobArn"),
        (JOB, {"job_name_prefix": "team-a"}, {}, "metadata.jobArn"),
        (JOB, {}, {"region": "us-east-1"}, "metadata.region"),
        (JOB, {}, {"region": "US-WEST-2"}, "metadata.region"),
    ],
)
def test_jobs_of_others_are_refused(
    job: str, changes: dict[str, Any], metadata: dict[str, Any], field: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        gate.check(asking(job, **metadata), settings(**changes))
    assert caught.value.field == field


def test_own_jobs_pass() -> None:
    gate.check(asking(region="us-west-2"), settings(job_name_prefix="desk"))
    gate.check(asking(JOB.replace(ACCOUNT, "999999999999")), settings(account=None))
    gate.check(asking(endpoint="https://proxy.internal/"), settings(endpoint="https://proxy.internal"))


async def test_nothing_is_signed_or_sent_for_a_refused_request(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        for endpoint in HOSTILE:
            with pytest.raises(RefusedError):
                await own.rollouts.run(asking(endpoint=endpoint))
        assert own.authorizer.signed == 0
    assert service.seen == []


async def test_traffic_goes_to_the_configured_endpoint(service: FakeJobRuntime) -> None:
    async with adapter(service) as own:
        outcome = await own.rollouts.run(asking(endpoint=f"https://{HOST}"))
    assert outcome.sealed == "ready"
    assert [seen.operation for seen in service.seen] == ["sample", "complete", "reward"]

"""Who may call the Job Runtime: SigV4 as boto3 signs it, and the bearer tokens of the public SDK."""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rehearsal.service.options import REGION
from rehearsal.service.wire.auth import refusal

from .stand_in import ARN, SIGNED, ServedRuntime, Turns, aws
from .test_job_runtime import ANSWER, raw

PREFIX = "sagemaker-api-key-"


def presigned(region: str = REGION, service: str = "sagemaker", **changes: Any) -> str:
    """The presigned URL of a token, as the SDK's `generate_token` makes it."""
    given = {"action": "CallWithBearerToken", "expires": 43200, **changes}
    url = "https://sagemaker.amazonaws.com/"
    request = AWSRequest("POST", url, headers={"host": "x"}, params={"Action": given["action"]})
    SigV4QueryAuth(Credentials("AKID", "secret"), service, region, expires=given["expires"]).add_auth(request)
    return str(request.url).removeprefix("https://") + "&Version=1"


def bearer(url: str) -> str:
    return "Bearer " + PREFIX + base64.b64encode(url.encode()).decode()


@pytest.fixture
def served() -> Iterator[ServedRuntime]:
    server = ServedRuntime()
    yield server
    server.close()


def test_a_token_is_taken_until_it_expires() -> None:
    token = bearer(presigned(expires=900))
    now = time.time()
    assert refusal(token, REGION) is None
    assert refusal(token, REGION, now + 890) is None
    assert "expired" in str(refusal(token, REGION, now + 902))
    assert "expired" in str(refusal(token, REGION, now - 400)), "signed in the future"


def test_a_token_lives_twelve_hours_at_most() -> None:
    assert refusal(bearer(presigned(expires=43200)), REGION) is None
    assert "expired" in str(refusal(bearer(presigned(expires=43201)), REGION))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "Missing"),
        ("", "Missing"),
        ("Basic dXNlcjpwYXNz", "neither"),
        ("AWS4-HMAC-SHA256 Credential=AKID", "neither"),
        (SIGNED.replace("/sagemaker/", "/s3/"), "neither"),
        (SIGNED.replace(REGION, "eu-west-1"), "region us-west-2"),
        (SIGNED[:-1], "neither"),
        ("Bearer", "neither"),
        ("Bearer something", "does not start"),
        (f"Bearer {PREFIX}", "no presigned URL"),
        (f"Bearer {PREFIX}%%%", "no presigned URL"),
        (f"Bearer {PREFIX}ünïcode", "no presigned URL"),
        (bearer("sagemaker.amazonaws.com/?Action=CallWithBearerToken"), "no presigned URL"),
        (bearer(presigned().replace("X-Amz-Expires=43200", "X-Amz-Expires=soon")), "no presigned URL"),
        (bearer(presigned().replace("X-Amz-Expires=43200", "X-Amz-Expires=-1")), "expired"),
        (bearer(presigned(action="DeleteEverything")), "CallWithBearerToken"),
        (bearer(presigned(service="s3")), "CallWithBearerToken"),
        (bearer(presigned(region="eu-west-1")), "scoped to eu-west-1"),
    ],
)
def test_what_is_no_authorization_is_refused(header: str | None, why: str) -> None:
    assert why in str(refusal(header, REGION))


def test_sigv4_as_boto3_signs_it() -> None:
    assert refusal(SIGNED, REGION) is None
    assert refusal(SIGNED.replace(", Signed", ",Signed"), REGION) is None


@pytest.mark.parametrize("path", ["/sample", "/v1/chat/completions", "/complete-rollout", "/update-reward"])
def test_every_route_wants_authorization(served: ServedRuntime, path: str) -> None:
    served.open(Turns(ANSWER))
    late = datetime.fromtimestamp(time.time() - 50_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    expired = presigned()
    signed = expired.split("X-Amz-Date=")[1][:16]
    for header in ("nonsense", "Bearer nonsense", bearer(expired.replace(signed, late))):
        status, told, headers = raw(served, path, {}, Authorization=header)
        assert (status, headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
        assert told["Message"]
    assert "expired" in told["Message"]
    assert served.counts == {}


def test_a_refusal_is_botos_own_exception(served: ServedRuntime) -> None:
    served.open(Turns(ANSWER))
    elsewhere = aws("sagemakerjobruntime", served.url)
    elsewhere.meta.events.register("before-send", _unsign)
    with pytest.raises(elsewhere.exceptions.AccessDeniedException, match="Missing Authentication Token"):
        elsewhere.complete_rollout(JobArn=ARN, TrajectoryId="t-1")


def test_a_bearer_token_works_on_the_wire(served: ServedRuntime) -> None:
    trajectory = served.open(Turns(ANSWER))
    body = {"JobArn": ARN, "TrajectoryId": "t-1"}
    assert raw(served, "/complete-rollout", body, Authorization=bearer(presigned()))[0] == 200
    assert trajectory.state == "ready"


def _unsign(request: Any, **_: Any) -> None:
    del request.headers["Authorization"]

"""The archive in a bucket, on an emulator's S3: what is put there, and what a failure of it costs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runtime.archive import S3Archive
from adapters.runtime.aws import aws_client
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime
from tests.aws import REGION, ministack
from tests.runtime.kit import EVALUATION, JOB, adapter, request

BUCKET = "transcripts"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        made = aws_client("s3", REGION)
        made.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield made


def stored(s3: Any) -> dict[str, dict[str, Any]]:
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
    return {key: json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}


async def test_evaluations_and_disagreements_are_put_there(service: FakeJobRuntime, s3: Any) -> None:
    archive = S3Archive(s3, BUCKET)
    cases = [("plain", JOB, 1.0, 1.0), ("../hacked", JOB, 1.0, 0.0), ("eval", EVALUATION, 0.0, 0.0)]
    for name, job, reward, score in cases:
        async with adapter(service, FakeEnvironment(reward=reward, score=score), archive=archive) as own:
            await own.rollouts.run(request(name, job=job))
    found = stored(s3)
    assert {record["rollout_id"] for record in found.values()} == {"../hacked", "eval"}
    # A rollout id is the service's: it must not choose where an object goes.
    assert all(key.count("/") == 2 and ".." not in key for key in found)
    assert {key.rsplit("/", 1)[0] for key in found} == {"transcripts/desk-1", "transcripts/desk-eval"}
    assert "TARGET-7" not in str(found)


async def test_a_bucket_that_is_not_there_does_not_cost_a_rollout(
    service: FakeJobRuntime, s3: Any, tmp_path: Path
) -> None:
    async with adapter(service, archive=S3Archive(s3, "missing")) as own:
        outcome = await own.rollouts.run(request(job=EVALUATION))
        assert own.log("not_logged")
    assert outcome.sealed == "ready"

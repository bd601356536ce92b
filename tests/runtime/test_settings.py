"""What an adapter's variables may be, and the sentence that each mistake gets."""

from collections.abc import Mapping

import pytest

from adapters.runtime.settings import QueueSettings, Settings, SettingsError
from tests.runtime.kit import ACCOUNT, REGION

GOOD = {"MTRL_ENVIRONMENT": "fake", "AWS_REGION": REGION, "MTRL_ACCOUNT_ID": ACCOUNT}
QUEUE = {
    "MTRL_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/rollouts",
    "MTRL_DEAD_LETTER_URL": "http://127.0.0.1:4566/000000000000/dead-letters",
    "MTRL_LEDGER_TABLE": "rollouts",
}


def problems(read: type[Settings] | type[QueueSettings], environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read.from_environ(environ)
    return caught.value.problems


@pytest.mark.parametrize("seconds", ["100000", "soon"])
def test_a_budget_that_is_none_is_complained_of_once(seconds: str) -> None:
    (problem,) = problems(Settings, GOOD | {"MTRL_ROLLOUT_BUDGET_SECONDS": seconds})
    assert problem.startswith("MTRL_ROLLOUT_BUDGET_SECONDS=")


def test_a_margin_that_leaves_nothing_is_refused() -> None:
    (problem,) = problems(Settings, GOOD | {"MTRL_ROLLOUT_BUDGET_SECONDS": "1"})
    assert "leaves nothing of MTRL_ROLLOUT_BUDGET_SECONDS=1" in problem


@pytest.mark.parametrize("region", ["us-gov-west-1", "eu-isoe-west-1", "ap-southeast-7"])
def test_every_partitions_regions_are_regions(region: str) -> None:
    assert Settings.from_environ(GOOD | {"AWS_REGION": region}).region == region


def test_a_region_that_is_none_is_refused() -> None:
    assert problems(Settings, GOOD | {"AWS_REGION": "mars"}) == [
        "AWS_REGION='mars' is no Region, such as us-west-2."
    ]


@pytest.mark.parametrize("name", ["MTRL_QUEUE_URL", "MTRL_DEAD_LETTER_URL"])
@pytest.mark.parametrize(
    "value", ["foo", "https://sqs.us-west-2.amazonaws.com", "arn:aws:sqs:a:1:b", "https://["]
)
def test_a_queue_that_is_no_url_is_refused_at_the_start(name: str, value: str) -> None:
    QueueSettings.from_environ(QUEUE)
    (problem,) = problems(QueueSettings, QUEUE | {name: value})
    assert problem.startswith(f"{name}={value!r} is no queue's URL")

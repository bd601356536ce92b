"""Entries of one moment go out together, and each is answered for itself."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from adapters.entrypoints import batching
from adapters.entrypoints.batching import Batches


class Sqs:
    """Notes the batches; `answers` says, by receipt, what fails how often."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self.answers = answers
        self.batches: list[list[str]] = []
        self.error: Exception | None = None

    async def __call__(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        self.batches.append([entry["ReceiptHandle"] for entry in entries])
        assert len({entry["Id"] for entry in entries}) == len(entries) <= 10
        if self.error is not None:
            raise self.error
        failed = []
        for entry in entries:
            if self.answers.get(entry["ReceiptHandle"]):
                failed.append({"Id": entry["Id"], **self.answers[entry["ReceiptHandle"]].pop(0)})
        return {"Failed": failed}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "RETRY_SECONDS", 0.01)


async def test_ten_at_a_time_and_the_rest_after_a_moment() -> None:
    sqs = Sqs()
    batches = Batches("DeleteMessage", sqs)
    await asyncio.gather(*(batches.do(ReceiptHandle=f"r{n}") for n in range(23)))
    assert sorted(map(len, sqs.batches)) == [3, 10, 10]
    assert sorted(each for batch in sqs.batches for each in batch) == sorted(f"r{n}" for n in range(23))
    await batches.do(ReceiptHandle="later")
    assert sqs.batches[-1] == ["later"]


async def test_what_sqs_could_not_do_is_sent_again_alone() -> None:
    sqs = Sqs(r1=[{"Code": "InternalError", "SenderFault": False}] * 2)
    batches = Batches("DeleteMessage", sqs)
    await asyncio.gather(*(batches.do(ReceiptHandle=f"r{n}") for n in range(3)))
    assert sqs.batches == [["r0", "r1", "r2"], ["r1"], ["r1"]]


async def test_it_is_not_sent_for_ever() -> None:
    sqs = Sqs(r0=[{"Code": "InternalError", "SenderFault": False}] * 99)
    with pytest.raises(ClientError, match="InternalError"):
        await Batches("DeleteMessage", sqs).do(ReceiptHandle="r0")
    assert len(sqs.batches) == batching.ATTEMPTS


async def test_a_refusal_is_the_callers_alone_unless_nothing_is_left_to_do() -> None:
    refused = {"Code": "ReceiptHandleIsInvalid", "SenderFault": True}
    hides = Batches("ChangeMessageVisibility", Sqs(r0=[refused]))
    results = await asyncio.gather(
        *(hides.do(ReceiptHandle=f"r{n}") for n in range(2)), return_exceptions=True
    )
    assert isinstance(results[0], ClientError)
    assert results[1] is None
    deletes = Batches("DeleteMessage", Sqs(r0=[refused]), fine=frozenset({"ReceiptHandleIsInvalid"}))
    await deletes.do(ReceiptHandle="r0")


async def test_a_call_that_fails_is_everyones_error() -> None:
    sqs = Sqs()
    sqs.error = EndpointConnectionError(endpoint_url="queue")
    batches = Batches("DeleteMessage", sqs)
    results = await asyncio.gather(
        *(batches.do(ReceiptHandle=f"r{n}") for n in range(2)), return_exceptions=True
    )
    assert results == [sqs.error] * 2
    sqs.error = None
    await batches.do(ReceiptHandle="r0")


async def test_a_caller_that_was_cancelled_holds_up_nobody() -> None:
    batches = Batches("DeleteMessage", Sqs())
    one, two = (asyncio.create_task(batches.do(ReceiptHandle=f"r{n}")) for n in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await two
    assert one.cancelled()


async def test_of_two_for_one_message_the_later_counts() -> None:
    """A heartbeat must not hide again what is just being handed back."""
    seconds: list[int] = []

    async def send(entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        seconds.extend(entry["VisibilityTimeout"] for entry in entries)
        return {}

    batches = Batches("ChangeMessageVisibility", send)
    await asyncio.gather(
        batches.do(ReceiptHandle="r0", VisibilityTimeout=120),
        batches.do(ReceiptHandle="r0", VisibilityTimeout=0),
    )
    assert seconds == [0]

"""The queue as the worker sees it: SQS and the claim-check bucket, off the event loop."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from adapters.contract import RequestError, RolloutRequest
from adapters.entrypoints.batching import LARGEST_BATCH, Batches
from adapters.runtime.settings import QueueSettings

T = TypeVar("T")
POLL_SECONDS = 5
"""One long poll. A stop waits for the poll in flight, so it is shorter than SQS allows."""
VISIBILITY_SECONDS = 120
"""How long a message stays hidden without a sign of life of the worker."""
THREADS = 16
GONE = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight"})
"""So come back a delete whose answer was lost, and whatever is asked of a message that another worker has
settled since. Were it still there, the ledger would decide."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message in hand."""

    body: str
    receipt: str
    sent_at: float
    """Unix seconds, by SQS's clock; 0 if it did not say."""
    receives: int = 1
    """How often it was received, this time included."""


class Inbox:
    """Receives, hides, deletes and buries messages. Every call may raise a botocore error."""

    def __init__(self, settings: QueueSettings, sqs: Any, s3: Any) -> None:
        self._settings = settings
        self._sqs = sqs
        self._s3 = s3
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="inbox")
        queue = {"QueueUrl": settings.queue_url}
        self._deletes = Batches(
            "DeleteMessage",
            lambda entries: self._off_loop(lambda: sqs.delete_message_batch(Entries=entries, **queue)),
            fine=GONE,
        )
        self._hides = Batches(
            "ChangeMessageVisibility",
            lambda entries: self._off_loop(
                lambda: sqs.change_message_visibility_batch(Entries=entries, **queue)
            ),
            fine=GONE,
        )

    async def receive(self, at_most: int) -> list[Delivery]:
        """Wait for messages, `POLL_SECONDS` at most."""
        answer = await self._off_loop(
            lambda: self._sqs.receive_message(
                QueueUrl=self._settings.queue_url,
                MaxNumberOfMessages=min(LARGEST_BATCH, at_most),
                WaitTimeSeconds=POLL_SECONDS,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            )
        )
        return [_delivery(message) for message in answer.get("Messages", ())]

    async def read(self, delivery: Delivery) -> RolloutRequest:
        """The request in a message, or behind its claim check.

        Raises:
            RequestError: the message is no rollout request; names the field.
        """
        try:
            payload = json.loads(delivery.body)
            if isinstance(payload, dict) and "claim_check" in payload:
                payload = json.loads(await self._claimed(payload["claim_check"]))
        except (ValueError, RecursionError) as error:
            raise RequestError("body", f"is not valid JSON: {error}") from None
        return RolloutRequest.from_wire(payload)

    async def hide(self, delivery: Delivery, seconds: int) -> None:
        """Keep a message from others for so long from now; 0 hands it back."""
        await self._hides.do(ReceiptHandle=delivery.receipt, VisibilityTimeout=seconds)

    async def delete(self, delivery: Delivery) -> None:
        await self._deletes.do(ReceiptHandle=delivery.receipt)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a message to the dead-letter queue, with the reason as an attribute; then delete it."""
        attributes = {"reason": {"DataType": "String", "StringValue": reason[:256] or "unknown"}}
        await self._off_loop(
            lambda: self._sqs.send_message(
                QueueUrl=self._settings.dead_letter_url,
                MessageBody=delivery.body,
                MessageAttributes=attributes,
            )
        )
        await self.delete(delivery)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _claimed(self, key: object) -> bytes:
        """The object behind a claim check. Only the key comes from the message, never the bucket."""
        bucket = self._settings.claim_check_bucket
        if not isinstance(key, str) or not key:
            raise RequestError("claim_check", "must be an object key")
        if bucket is None:
            raise RequestError("claim_check", "is used, but MTRL_CLAIM_CHECK_BUCKET is not set here")

        def get() -> bytes:
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return body

        return await self._off_loop(get)

    async def _off_loop(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _delivery(message: dict[str, Any]) -> Delivery:
    attributes = message.get("Attributes", {})
    sent, receives = attributes.get("SentTimestamp", "0"), attributes.get("ApproximateReceiveCount", "1")
    return Delivery(message["Body"], message["ReceiptHandle"], int(sent) / 1000, int(receives))

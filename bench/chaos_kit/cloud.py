"""The AWS side: queues, ledger and buckets on the emulator, and what is in them."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.chaos_kit.rows import CLAIMS_BUCKET, LOG_BUCKET
from mtrl.deploying.emulator import REGION, Emulator
from mtrl.rehearsing.processes import ProcessError, child_environ

LEDGER = "ledger"
GAUGES = Path(__file__).parents[2] / "lambda/gauges/handler.py"
_RUN_GAUGE = """
import json, runpy, sys
print(json.dumps(runpy.run_path(sys.argv[1])["handler"]({}, None)))
"""


@dataclass(slots=True)
class Cloud:
    """The resources of one run."""

    aws: Emulator
    sqs: Any
    dynamodb: Any
    queue: str
    dead_letters: str

    @classmethod
    def create(cls, aws: Emulator) -> "Cloud":
        sqs, dynamodb, s3 = (aws.client(name) for name in ("sqs", "dynamodb", "s3"))
        dynamodb.create_table(
            TableName=LEDGER,
            AttributeDefinitions=[{"AttributeName": "rollout", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "rollout", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for bucket in (CLAIMS_BUCKET, LOG_BUCKET):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        queue, dead = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("rollouts", "dead"))
        return cls(aws, sqs, dynamodb, queue, dead)

    def environ(self) -> dict[str, str]:
        """The variables that name them."""
        return {
            **self.aws.credentials(),
            "AWS_ENDPOINT_URL": self.aws.url,
            "MTRL_QUEUE_URL": self.queue,
            "MTRL_DEAD_LETTER_URL": self.dead_letters,
            "MTRL_LEDGER_TABLE": LEDGER,
        }

    async def send(self, body: str) -> None:
        """Put a message on the queue as it is."""
        await asyncio.to_thread(self.sqs.send_message, QueueUrl=self.queue, MessageBody=body)

    async def settled(self, seconds: float) -> int:
        """Wait until the queue is empty, but not longer; the messages that are left, hidden ones too."""
        deadline = time.monotonic() + seconds
        left = await asyncio.to_thread(self._left)
        while left and time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            left = await asyncio.to_thread(self._left)
        return left

    def _left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(answer[name]) for name in names)

    async def gauge(self) -> float:
        """What the deployment's gauge says of the queue: its real handler, in a process as a Lambda's.

        Raises:
            ProcessError: it did not answer.
        """
        environ = child_environ(
            {
                **self.environ(),
                "MTRL_METRICS_NAMESPACE": "chaos",
                "MTRL_DEPLOYMENT": "chaos",
                "MTRL_ENVIRONMENT": "sop",
            }
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RUN_GAUGE, str(GAUGES), env=environ, stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode != 0:
            raise ProcessError("The gauge did not answer; its own words are above.")
        return float(json.loads(out)["WaitingWithoutWorker"])

    async def ledger(self) -> Mapping[str, int]:
        """Items by how far they got."""

        def scan() -> Counter[str]:
            pages = self.dynamodb.get_paginator("scan").paginate(TableName=LEDGER, ConsistentRead=True)
            return Counter(_standing(item) for page in pages for item in page["Items"])

        return await asyncio.to_thread(scan)

    async def dead(self) -> Mapping[str, int]:
        """Dead letters by the first word of their reason."""

        def read() -> Counter[str]:
            reasons: Counter[str] = Counter()
            while found := self._some_dead():
                reasons.update(found)
            return reasons

        return await asyncio.to_thread(read)

    def _some_dead(self) -> list[str]:
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letters, MaxNumberOfMessages=10, MessageAttributeNames=["reason"]
        )
        return [
            message["MessageAttributes"]["reason"]["StringValue"].split(":")[0]
            for message in answer.get("Messages", [])
        ]


def _standing(item: Mapping[str, Any]) -> str:
    if "acknowledged" in item:
        return "acknowledged"
    return "outcome, not acknowledged" if "outcome" in item else "no outcome"

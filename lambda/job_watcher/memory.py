"""What is known of each job, in the rollout ledger, under `job#<job ARN>`.

Every write is conditional on the version that was read. Of two invocations that look at once, one gets its
write through, and only that one speaks. A write that leaves notices to publish is also a claim on them until
its invocation must be over; whoever comes later finds what was not published, and publishes it.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError
from changes import Known

KEEP_SECONDS = 30 * 86400
"""After the last write. Longer than a job that has ended is listed, or it would be told of twice."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What stood in the ledger when it was read."""

    version: int = 0
    """0: nothing."""
    known: Known | None = None
    claimed_until: float = 0.0

    def claimed(self, now: float) -> bool:
        """Another invocation is publishing this job's notices."""
        return self.known is not None and bool(self.known.untold) and now < self.claimed_until


class Memory:
    """The entries of one table."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def recall(self, arn: str) -> Entry:
        """What is known of a job."""
        found = self._dynamodb.get_item(TableName=self._table, Key=_key(arn), ConsistentRead=True).get("Item")
        if not found:
            return Entry()
        known = Known.of(json.loads(found["job"]["S"]))
        return Entry(int(found["version"]["N"]), known, float(found["claimed_until"]["N"]))

    def write(self, arn: str, before: Entry, known: Known, claimed_until: float) -> Entry | None:
        """Put `known` in the place of what was read; None if another invocation wrote in between."""
        after = Entry(before.version + 1, known, claimed_until)
        fields = {
            "version": {"N": str(after.version)},
            "job": {"S": json.dumps(asdict(known))},
            "claimed_until": {"N": str(claimed_until)},
            "expires_on": {"N": str(int(time.time() + KEEP_SECONDS))},
        }
        values: dict[str, Any] = {f":{name}": value for name, value in fields.items()}
        if before.version:
            values[":before"] = {"N": str(before.version)}
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(arn),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
                ConditionExpression="#version = :before"
                if before.version
                else "attribute_not_exists(#version)",
                ExpressionAttributeNames={f"#{name}": name for name in fields},
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return after


def _key(arn: str) -> dict[str, Any]:
    return {"rollout": {"S": f"job#{arn}"}}

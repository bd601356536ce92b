"""What the processes of one deployment share: the ledger table, and the bucket of the rollout logs."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from adapters.runtime.dynamo_ledger import DynamoLedger, dynamo_client
from adapters.runtime.ledger import Ledger, MemoryLedger
from adapters.runtime.log_store import LogStore, S3LogStore, log_client
from adapters.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Shared:
    """Without a table a process remembers for itself alone, and nobody can take over from it."""

    ledger: Ledger
    logs: LogStore | None


@contextmanager
def shared(settings: Settings, table: str | None, bucket: str | None) -> Iterator[Shared]:
    """The ledger and the log store; leaving the context closes them."""
    if table is None:
        yield Shared(MemoryLedger(), None)
        return
    ledger = DynamoLedger(
        dynamo_client(settings.region),
        table,
        owner=f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}",
        request_timeout=settings.sample_timeout,
    )
    logs = None if bucket is None else S3LogStore(log_client(settings.region), bucket)
    try:
        yield Shared(ledger, logs)
    finally:
        ledger.close()
        if logs is not None:
            logs.close()

"""Where transcripts go that somebody will want to read: a folder on a laptop, a bucket in a deployment."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import orjson

from adapters.runtime.telemetry import RolloutLine


class Archive(Protocol):
    async def keep(self, line: RolloutLine) -> None:
        """Keep a finished rollout's transcript, if it is worth it. May raise whatever storage raises."""


def worth_keeping(line: RolloutLine) -> bool:
    """An evaluation's rollout, or one whose reward and score disagree."""
    return "/AgentRFTEvaluation/" in line.request.job_arn or line.disagrees


class FileArchive:
    """Transcripts worth keeping, as JSON lines: one file a job, in a folder readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def keep(self, line: RolloutLine) -> None:
        """Append the record, if it is worth keeping."""
        if worth_keeping(line):
            await asyncio.to_thread(self._append, line.request.job_name, archived(line))

    def _append(self, job_name: str, record: dict[str, Any]) -> None:
        data = orjson.dumps(record, default=dict) + b"\n"
        path = self._folder / f"{job_name}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data)  # one write: lines of concurrent rollouts do not mix
        finally:
            os.close(descriptor)


class S3Archive:
    """The same records as objects: `transcripts/<job>/<digest of the rollout id>.json`.

    A rollout that is reported again is written again, to the same key: the bucket keeps versions.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def keep(self, line: RolloutLine) -> None:
        """Put the object, if it is worth keeping."""
        if worth_keeping(line):
            await asyncio.to_thread(self._put, line.request.job_name, archived(line))

    def _put(self, job_name: str, record: dict[str, Any]) -> None:
        digest = hashlib.sha256(str(record["rollout_id"]).encode()).hexdigest()
        self._client.put_object(
            Bucket=self._bucket,
            Key=f"transcripts/{job_name}/{digest}.json",
            Body=orjson.dumps(record, default=dict),
            ContentType="application/json",
        )


def archived(line: RolloutLine) -> dict[str, Any]:
    return {
        "rollout_id": line.request.rollout_id,
        "job_name": line.request.job_name,
        "stop_reason": line.outcome.stop_reason,
        "reward": line.reward.value if line.reward else None,
        "reward_components": dict(line.reward.components) if line.reward else {},
        "score": line.score.value if line.score else None,
        "score_fields": dict(line.score.fields) if line.score else {},
        "turns": len(line.transcript.turns),
        "messages": list(line.transcript.messages),
    }

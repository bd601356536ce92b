"""The job watcher: looks at the deployment's jobs once a minute, because no event tells of them.

Of each job it writes metrics and, once for each change, a notice to the topic: started, stalled, resumed,
completed, failed, stopped. A notice is not lost: a change is written down together with the notice of it,
then the notice is published, then that is written down. A crash or a failure in between leaves it to a later
tick, so it may come twice, but only then. Of overlapping invocations one tells (`memory.py`).

Metrics are EMF log lines with one dimension, `Deployment`. A job's name is a property of the line and no
dimension: each job would be a metric of its own, billed for a month, and no alarm could be set on it before.

    JobsRunning            each tick: jobs InProgress or Stopping
    JobStalled             each tick: how many of them. Left out, unless above 0, when anything went wrong,
                           because the alarm on it takes silence for trouble
    JobFailed, JobStopped  1 with each attempt to send such a notice
    StepsDone              since the beginning of the job; JobProgress is the fraction of all its steps
    SecondsSinceProgress   of a job InProgress
    BillableTokens         since the last look, to be summed. BillableTrainTokens, BillablePrefillTokens and
                           BillableSampleTokens are its parts. A crash right after a look loses that increase
    BillableTokensSoFar    since the beginning of the job

What fails for one job costs the others nothing; at the end the invocation fails, with one line. A job that
has ended is looked at until its end is told, and for three days at most.

Environment variables (all required):
    MTRL_JOB_NAME_PREFIX     the jobs of this deployment begin with it
    MTRL_METRICS_NAMESPACE   where the metrics go
    MTRL_DEPLOYMENT          their dimension
    MTRL_TOPIC_ARN           the topic of the notices
    MTRL_LEDGER_TABLE        the rollout ledger, which also holds what is known of each job
    MTRL_STALL_MINUTES       a job without progress for so long has stalled

IAM actions: sagemaker:ListJobs, which names no job, so on `*`; sagemaker:DescribeJob on
`job/AgentRFT/<prefix>*` and `job/AgentRFTEvaluation/<prefix>*`; sns:Publish on the topic; dynamodb:GetItem
and dynamodb:UpdateItem on the table; kms:Decrypt and kms:GenerateDataKey on the key of topic and table.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import jobs
import notices
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from changes import Change, change
from jobs import Job, Look
from memory import Entry, Memory

LISTED_AFTER_CHANGE = timedelta(days=3)
"""A watcher that was down over a weekend still tells what happened."""
INVOCATION_SECONDS = 60.0
"""How long an invocation lasts at most, where Lambda does not say."""
RESERVE_SECONDS = 8.0
"""No look begins with less time than this left."""

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
_FAILURES = (BotoCoreError, ClientError, LookupError, TypeError, ValueError)
"""Of a call; the last three are an answer or an entry that is not what it should be."""
_ENDS = {"failed": "JobFailed", "stopped": "JobStopped"}
_UNITS = {"SecondsSinceProgress": "Seconds", "JobProgress": "None"}
_clients: dict[str, Any] = {}


class WatchFailed(Exception):
    """Something could not be looked at or told; the message is one line."""


def handler(event: object, context: Any) -> dict[str, int]:
    """One tick."""
    left = context.get_remaining_time_in_millis() / 1000 if context else INVOCATION_SECONDS
    try:
        watch = Watch(os.environ, time.time() + left)
    except KeyError as error:
        raise WatchFailed(f"{error.args[0]} is not set on this function") from None
    watch.tick()
    for trouble in watch.troubles:
        _write({"level": "ERROR", "event": "not_watched", "error": trouble})
    if watch.troubles:
        raise WatchFailed("; ".join(watch.troubles))
    return {"running": watch.running, "stalled": watch.stalled, "told": watch.told}


class Watch:
    """The work of one invocation, which is over at `until` (Unix seconds)."""

    def __init__(self, environ: Mapping[str, str], until: float) -> None:
        self.running = self.stalled = self.told = 0
        self.troubles: list[str] = []
        self._until = until
        self._prefix = environ["MTRL_JOB_NAME_PREFIX"]
        self._namespace = environ["MTRL_METRICS_NAMESPACE"]
        self._deployment = environ["MTRL_DEPLOYMENT"]
        self._topic = environ["MTRL_TOPIC_ARN"]
        self._stall_seconds = 60 * float(environ["MTRL_STALL_MINUTES"])
        self._memory = Memory(_client("dynamodb"), environ["MTRL_LEDGER_TABLE"])

    def tick(self) -> None:
        """Look at every job, then measure what is true of them together."""
        found = self._listed()
        metrics = {}
        if not self.troubles:
            self.running = sum(job.status in jobs.ACTIVE for job in found)
            metrics["JobsRunning"] = self.running
        self._visit(found)
        if self.stalled or not self.troubles:
            metrics["JobStalled"] = self.stalled
        self._measure("jobs", metrics)

    def _listed(self) -> list[Job]:
        """Those that run come first, should the time not do for all."""
        changed_after = datetime.now(UTC) - LISTED_AFTER_CHANGE
        found: list[Job] = []
        for category in jobs.CATEGORIES:
            with self._guarded(f"sagemaker:ListJobs of {category}"):
                found += jobs.listed(_client("sagemaker"), category, self._prefix, changed_after)
        return sorted(found, key=lambda job: job.status not in jobs.ACTIVE)

    def _visit(self, found: Sequence[Job]) -> None:
        for number, job in enumerate(found):
            if time.time() > self._until - RESERVE_SECONDS:
                self.troubles.append(f"no time was left to look at {len(found) - number} jobs")
                return
            with self._guarded(f"{job.category}/{job.name}"):
                self._look_and_tell(job)

    def _look_and_tell(self, job: Job) -> None:
        entry = self._memory.recall(job.arn)
        if entry.claimed(time.time()):
            return
        look = None if _told(entry, job) else self._look(job)
        if look is not None:
            self._take_in(entry, look)
        elif entry.known is not None and entry.known.untold:
            # What is left to tell does not wait until the job can be looked at again.
            self._tell(job, self._memory.write(job.arn, entry, entry.known, self._until))

    def _look(self, job: Job) -> Look | None:
        """None where that failed, or the job was deleted since it was listed."""
        with self._guarded(f"sagemaker:DescribeJob of {job.category}/{job.name}"):
            try:
                return jobs.described(_client("sagemaker"), job)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFound":
                    raise
        return None

    def _take_in(self, entry: Entry, look: Look) -> None:
        """Write down what is seen and what is to be told of it; then measure it, and tell it."""
        now = time.time()
        changed = change(entry.known, look, now=now, stall_seconds=self._stall_seconds)
        self.stalled += changed.known.stalled
        still = now - changed.known.progressed_at
        new = [
            notices.written(news, look, deployment=self._deployment, still_seconds=still)
            for news in changed.news
        ]
        known = replace(changed.known, untold=(*changed.known.untold, *new))
        written = self._memory.write(look.job.arn, entry, known, self._until)
        if written is not None:
            self._measure("job", _figures(look, changed, still), look.job)
            self._tell(look.job, written)

    def _tell(self, job: Job, entry: Entry | None) -> None:
        """Publish what is untold, oldest first. None: another invocation does."""
        while entry is not None and entry.known is not None and entry.known.untold:
            notice, *rest = entry.known.untold
            if notice["news"] in _ENDS:
                self._measure("job_ended", {_ENDS[notice["news"]]: 1}, job)
            notices.publish(_client("sns"), self._topic, notice, job.name)
            self.told += 1
            left = replace(entry.known, untold=tuple(rest))
            entry = self._memory.write(job.arn, entry, left, self._until)

    def _measure(self, event: str, metrics: Mapping[str, float], job: Job | None = None) -> None:
        if not metrics:
            return
        emf = {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": self._namespace,
                    "Dimensions": [["Deployment"]],
                    "Metrics": [{"Name": name, "Unit": _UNITS.get(name, "Count")} for name in metrics],
                }
            ],
        }
        properties = {"job_name": job.name, "category": job.category, "status": job.status} if job else {}
        line = {"level": "INFO", "event": event, "Deployment": self._deployment, **properties, **metrics}
        _write({"_aws": emf, **line})

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """One failure must not hide the other jobs: it is kept for the end."""
        try:
            yield
        except _FAILURES as error:
            self.troubles.append(_sentence(what, error))


def _told(entry: Entry, job: Job) -> bool:
    """The job has ended, and that was seen already."""
    known = entry.known
    if known is None or not known.is_of(job.created):
        return False
    return job.status in jobs.ENDED and known.status == job.status


def _figures(look: Look, changed: Change, still_seconds: float) -> dict[str, float]:
    """The metrics of one look."""
    figures: dict[str, float] = {
        "BillableTokens": sum(changed.tokens.values()),
        "BillableTrainTokens": changed.tokens["Train"],
        "BillablePrefillTokens": changed.tokens["Prefill"],
        "BillableSampleTokens": changed.tokens["Sample"],
        "BillableTokensSoFar": sum(changed.known.tokens.values()),
    }
    if look.mark is not None:
        figures["StepsDone"] = look.step
    if look.steps:
        figures["JobProgress"] = round(min(1.0, look.step / look.steps), 4)
    if look.job.status == "InProgress":
        figures["SecondsSinceProgress"] = round(still_seconds, 1)
    return figures


def _sentence(what: str, error: Exception) -> str:
    """What failed and why, in one line."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    if code.startswith("AccessDenied") and what.startswith("sagemaker:"):
        return (
            f"{what}: {code}: the function's role or a service control policy denies it, or the account is "
            "not allow-listed for AgentRFT"
        )
    return f"{what}: {code}: {' '.join(str(error).split())[:300]}"


def _client(service: str) -> Any:
    if service not in _clients:
        own = service == "sagemaker"
        _clients[service] = jobs.client(_CONFIG) if own else boto3.client(service, config=_CONFIG)
    return _clients[service]


def _write(line: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")

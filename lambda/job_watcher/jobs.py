"""The service's side: which jobs there are, and how one of them is.

What a job has done stands in `ServiceOutput`, inside the JobConfigDocument that DescribeJob gives back as a
JSON string. It may be missing, and so may each member of it: a job without figures still has a status.

`models/` adds ListJobs and DescribeJob to a botocore that is too old to know them, as a Lambda runtime's may
be.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

CATEGORIES = ("AgentRFT", "AgentRFTEvaluation")
ACTIVE = ("InProgress", "Stopping")
ENDED = ("Completed", "Failed", "Stopped")
KINDS = ("Train", "Prefill", "Sample")
"""Of billable tokens: `TrainTokenCount` and so on."""
PAGE = 100
"""Jobs in an answer of ListJobs: the most that it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A line of the list."""

    arn: str
    name: str
    category: str
    status: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What DescribeJob told of a job at one moment."""

    job: Job
    """With the status that DescribeJob told, which is newer than the list's."""
    phase: str
    """The secondary status."""
    ended: datetime | None
    reason: str
    mark: tuple[int, int] | None
    """Epoch and step as the service counts them: only for comparison. None where it reports no progress."""
    step: int
    """Steps done since the beginning."""
    steps: int
    """Steps in all; 0 if unknown."""
    tokens: Mapping[str, int]
    """Billable tokens so far, by kind."""
    package: str
    """ARN of the model package that came of it."""


def client(config: Config) -> Any:
    """A SageMaker client that knows jobs."""
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.append(str(Path(__file__).parent / "models"))
    return boto3.Session(botocore_session=session).client("sagemaker", config=config)


def listed(sagemaker: Any, category: str, prefix: str, changed_after: datetime) -> list[Job]:
    """The jobs of a category that run, however old, and those that changed lately."""
    # In this order: a job that ends between the two questions is in the second answer.
    running = _pages(sagemaker, category, prefix, StatusEquals="InProgress")
    changed = _pages(sagemaker, category, prefix, LastModifiedTimeAfter=changed_after)
    found = {job.arn: job for jobs in (running, changed) for job in jobs}
    return [job for job in found.values() if job.status in ACTIVE + ENDED]


def _pages(sagemaker: Any, category: str, prefix: str, **more: Any) -> Iterator[Job]:
    query = {"JobCategory": category, "MaxResults": PAGE, **more}
    if prefix:
        query["NameContains"] = prefix
    while True:
        page = sagemaker.list_jobs(**query)
        for each in page["JobSummaries"]:
            # NameContains is no prefix: the name of another deployment's job may hold ours in the middle.
            if each["JobName"].startswith(prefix):
                yield _job(each)
        if not page.get("NextToken"):
            return
        query["NextToken"] = page["NextToken"]


def described(sagemaker: Any, job: Job) -> Look:
    """One look at a job."""
    told = sagemaker.describe_job(JobName=job.name, JobCategory=job.category)
    output = _object(_document(told.get("JobConfigDocument")).get("ServiceOutput"))
    progress = _object(output.get("ProgressInfo"))
    tokens = _object(output.get("BillableTokenUsage"))
    step, steps = _steps(progress)
    return Look(
        job=_job(told),
        phase=told["SecondaryStatus"],
        ended=told.get("EndTime"),
        reason=told.get("FailureReason", ""),
        mark=(_count(progress, "CurrentEpoch"), _count(progress, "CurrentStep")) if progress else None,
        step=step,
        steps=steps,
        tokens={kind: _count(tokens, f"{kind}TokenCount") for kind in KINDS},
        package=str(output.get("OutputModelPackageArn") or ""),
    )


def _job(told: Mapping[str, Any]) -> Job:
    return Job(
        arn=told["JobArn"],
        name=told["JobName"],
        category=told["JobCategory"],
        status=told["JobStatus"],
        created=told["CreationTime"].timestamp(),
    )


def _steps(progress: Mapping[str, Any]) -> tuple[int, int]:
    """Steps done and steps in all, from either form of ProgressInfo.

    The form with epochs does not say whether its step counts from the beginning of the job or of the epoch.
    A count of the job has left the steps of earlier epochs behind.
    """
    current, total = _count(progress, "CurrentStep"), _count(progress, "MaxSteps")
    if total:
        return current, total
    per_epoch = _count(progress, "StepsPerEpoch")
    before = per_epoch * max(0, _count(progress, "CurrentEpoch") - 1)
    return current if current > before else before + current, per_epoch * _count(progress, "MaxEpoch")


def _document(text: object) -> dict[str, Any]:
    try:
        return _object(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(holder: Mapping[str, Any], name: str) -> int:
    """A number of the document, in which the model promises no type."""
    try:
        return max(0, int(holder.get(name) or 0))
    except (ValueError, TypeError, OverflowError):
        return 0

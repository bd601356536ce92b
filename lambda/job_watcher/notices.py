"""What people are told: one message to the topic for each change, with the next act in it.

The words are made when the change is seen and kept with it, so that a message that comes late still says how
things were. A failure's reason is told here and never logged: it may quote what a rollout said.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs import KINDS, Look

SUBJECT_LIMIT = 100
"""SNS takes ASCII of at most so many characters."""
_SAYS = {
    "started": "has started",
    "stalled": "has stalled: no progress for {minutes} min",
    "resumed": "makes progress again",
    "completed": "is completed",
    "failed": "has failed",
    "stopped": "was stopped",
}
_NEXT = {
    "started": "nothing. An adapter that asks or answers with other words is not deployed before its end; "
    "what any other deployment means to it: docs/deployment.md, 'Change code while a job runs'.",
    "stalled": "docs/runbooks/job-stalled.md",
    "resumed": "nothing.",
    "completed": "see whether it is better than the base model, by an evaluation job on the held-out split.",
    "failed": "docs/runbooks/job-failed.md",
    "stopped": "docs/runbooks/job-stopped.md",
}
_NEXT_OF_EVALUATION = _NEXT | {"completed": "hold its metrics against those of the base model."}


def written(news: str, look: Look, *, deployment: str, still_seconds: float) -> dict[str, str]:
    """A notice: `news`, `subject` and `body`."""
    job = look.job
    says = _SAYS[news].format(minutes=round(still_seconds / 60))
    following = (_NEXT if job.category == "AgentRFT" else _NEXT_OF_EVALUATION)[news]
    facts = [f"{label + ':':<12}{value}" for label, value in _facts(look, deployment) if value]
    body = "\n".join(
        [f"Job {job.name} ({job.category}) {says}.", "", *facts, "", f"Next act: {following}", ""]
    )
    return {"news": news, "subject": f"{job.name} {news} ({deployment})"[:SUBJECT_LIMIT], "body": body}


def publish(sns: Any, topic: str, notice: Mapping[str, str], job_name: str) -> None:
    """Send a notice. The attributes are for subscriptions that want some of them only."""
    attributes = {"news": notice["news"], "job": job_name}
    sns.publish(
        TopicArn=topic,
        Subject=notice["subject"],
        Message=notice["body"],
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )


def _facts(look: Look, deployment: str) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{kind.lower()} {look.tokens[kind]:,}" for kind in KINDS)
    return [
        ("Status", f"{look.job.status} ({look.phase})"),
        ("Reason", look.reason),
        ("Progress", f"step {look.step} of {look.steps or '?'}" if look.mark is not None else ""),
        ("Tokens", f"{sum(look.tokens.values()):,} billable ({kinds})"),
        ("Package", look.package),
        ("Created", _moment(datetime.fromtimestamp(look.job.created, UTC))),
        ("Ended", _moment(look.ended) if look.ended else ""),
        ("Deployment", deployment),
        ("ARN", look.job.arn),
    ]


def _moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

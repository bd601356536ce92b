"""Jobs and their life cycle: what CreateJob makes, a runner advances, and DescribeJob reports.

One process owns the records (see `Store`), so they are kept in memory and every change is written
through. The records handed out are the live ones: only the methods of `Jobs` change them.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from rehearsal.service.state.store import Store

JobCategory = Literal["AgentRFT", "AgentRFTEvaluation"]
CATEGORIES: tuple[str, ...] = ("AgentRFT", "AgentRFTEvaluation")
ACTIVE = frozenset({"InProgress", "Stopping"})
MAX_REASON = 1024
MAX_TRANSITIONS = 100
MAX_CONCURRENT = 1
"""Of each category in an account: the service's own quota."""
DEFAULT_PAGE = 50
_TABLE = "jobs"
_METRICS = "metrics"


class JobError(Exception):
    """The service refuses a request. `code` is an AWS error code, `message` is for the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(slots=True)
class Transition:
    """One secondary status and how long it lasted; Unix seconds, `end` is None while it lasts."""

    status: str
    start: float
    end: float | None = None
    message: str = ""


@dataclass(slots=True)
class JobRecord:
    """A job. Times are Unix seconds."""

    name: str
    category: str
    arn: str
    role_arn: str
    schema_version: str
    document: dict[str, Any]
    """The JobConfigDocument as it was given, parsed."""
    tags: list[dict[str, str]]
    created: float
    modified: float
    ended: float | None = None
    status: str = "InProgress"
    secondary: str = "Starting"
    transitions: list[Transition] = field(default_factory=list)
    failure_reason: str | None = None
    service_output: dict[str, Any] = field(default_factory=dict)
    runner_state: dict[str, Any] = field(default_factory=dict)
    """Small JSON that the runner needs to resume: the step, the path of a checkpoint."""

    @property
    def terminal(self) -> bool:
        return self.status not in ACTIVE

    def config_document(self) -> dict[str, Any]:
        """What DescribeJob shows: the document as given, with `ServiceOutput` once there is any."""
        if not self.service_output:
            return dict(self.document)
        return {**self.document, "ServiceOutput": self.service_output}


Page: TypeAlias = tuple[list[JobRecord], str | None]
"""Some jobs, and the token of the page after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs to list, and in which order. Times are Unix seconds, both ends excluded."""

    category: str
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    name_contains: str = ""
    status: str | None = None
    sort_by: Literal["Name", "CreationTime", "Status"] = "CreationTime"
    # The service's model names no default order; the newest job is what one looks for.
    descending: bool = True

    def matches(self, record: JobRecord) -> bool:
        return (
            record.category == self.category
            and _within(record.created, self.created_after, self.created_before)
            and _within(record.modified, self.modified_after, self.modified_before)
            and self.name_contains in record.name
            and self.status in (None, record.status)
        )

    def rank(self, record: JobRecord) -> tuple[Any, str]:
        """Where the job stands in the order; the name makes it unique."""
        value = {"Name": record.name, "CreationTime": record.created, "Status": record.status}[self.sort_by]
        return value, record.name

    def token(self, last: JobRecord) -> str:
        """Stands for "after this job of this query"."""
        value, name = self.rank(last)
        return base64.urlsafe_b64encode(orjson.dumps([self._digest(), value, name])).decode()

    def position(self, token: str) -> tuple[Any, str]:
        """The rank that a token stands for.

        Raises:
            JobError: ValidationException for a token of another query, or of nobody.
        """
        kind = int | float if self.sort_by == "CreationTime" else str
        try:
            digest, value, name = orjson.loads(base64.urlsafe_b64decode(token))
        except (ValueError, TypeError):
            digest = value = name = None
        if digest != self._digest() or not isinstance(value, kind) or not isinstance(name, str):
            raise JobError("ValidationException", "NextToken: is not a token of this query.")
        return value, name

    def _digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def _within(moment: float, after: float | None, before: float | None) -> bool:
    return (after is None or moment > after) and (before is None or moment < before)


def partition_of(region: str) -> str:
    """The ARN partition of a Region: aws, aws-cn or aws-us-gov."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


class Jobs:
    """The jobs of one account and Region, kept in `store`.

    Not thread-safe: the methods belong to the event loop that serves the requests.
    """

    def __init__(
        self, store: Store, *, region: str, account: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.region = region
        self.account = account
        self.on_created: Callable[[JobRecord], None] | None = None
        """Called after a job is stored; starts the runner's task."""
        self.on_deleted: Callable[[JobRecord], None] | None = None
        """Called after a job is forgotten: another one may get its name, and so its ARN."""
        self._store = store
        self._clock = clock
        self._records = {
            (record.category, record.name): record for record in map(_load, store.all(_TABLE).values())
        }

    def create(
        self,
        *,
        name: str,
        category: str,
        role_arn: str,
        schema_version: str,
        document: Mapping[str, Any],
        tags: Sequence[Mapping[str, str]] = (),
    ) -> JobRecord:
        """Store a new job, InProgress and Starting, and hand it to `on_created`.

        Raises:
            JobError: ResourceInUse when the category has a job of this name, ResourceLimitExceeded
                when another job of the category is unfinished.
        """
        self._admit(name, category)
        now = self._now()
        record = JobRecord(
            name=name,
            category=category,
            arn=self.arn(name, category),
            role_arn=role_arn,
            schema_version=schema_version,
            document=dict(document),
            tags=[dict(tag) for tag in tags],
            created=now,
            modified=now,
            transitions=[Transition("Starting", now)],
        )
        self._records[category, name] = record
        self._save(record)
        if self.on_created is not None:
            self.on_created(record)
        return record

    def arn(self, name: str, category: str) -> str:
        """The ARN that a job of this name has, or would have."""
        partition = partition_of(self.region)
        return f"arn:{partition}:sagemaker:{self.region}:{self.account}:job/{category}/{name}"

    def get(self, name: str, category: str) -> JobRecord:
        """The job.

        Raises:
            JobError: ResourceNotFound.
        """
        record = self._records.get((category, name))
        if record is None:
            raise JobError("ResourceNotFound", f"There is no {category} job named {name!r}.")
        return record

    def by_arn(self, arn: str) -> JobRecord | None:
        """The job with this ARN, or None: the Job Runtime names jobs by ARN."""
        return next((record for record in self._records.values() if record.arn == arn), None)

    def stop(self, name: str, category: str) -> JobRecord:
        """Ask the runner to stop the job; a second request changes nothing.

        Raises:
            JobError: ResourceNotFound, or ValidationException for a job that has ended.
        """
        record = self.get(name, category)
        if record.terminal:
            raise JobError("ValidationException", f"Job {name!r} cannot be stopped: it is {record.status}.")
        if record.status != "Stopping":
            record.status = "Stopping"
            self.advance(record, "Stopping")
        return record

    def delete(self, name: str, category: str) -> None:
        """Forget a job that has ended.

        Raises:
            JobError: ResourceNotFound, or ResourceInUse for a job that has not ended.
        """
        record = self.get(name, category)
        if not record.terminal:
            raise JobError("ResourceInUse", f"Job {name!r} is {record.status}: stop it and wait for its end.")
        self._store.delete_under(_METRICS, f"{_key(record)}/")
        self._store.delete(_TABLE, _key(record))
        del self._records[category, name]
        if self.on_deleted is not None:
            self.on_deleted(record)

    def advance(self, record: JobRecord, secondary: str, message: str = "") -> None:
        """Enter a secondary status: closes the former transition and opens the next one."""
        self._enter(record, secondary, message)
        self._save(record)

    def progress(
        self,
        record: JobRecord,
        *,
        service_output: Mapping[str, Any] | None = None,
        runner_state: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge keys into `service_output` and `runner_state`, and store both in one write."""
        record.service_output.update(service_output or {})
        record.runner_state.update(runner_state or {})
        self._save(record)

    def add_metrics(self, record: JobRecord, line: Mapping[str, float]) -> None:
        """Keep the metrics of one `step`: a document of its own, so that a long job writes each once."""
        self._store.put(_METRICS, f"{_key(record)}/{int(line['step']):08d}", line)

    def metrics(self, record: JobRecord, steps: int) -> Sequence[dict[str, float]]:
        """The lines of the first `steps` steps; a killed process may have kept one more."""
        lines = self._store.under(_METRICS, f"{_key(record)}/")
        return [line for line in lines if line["step"] <= steps]

    def finish(
        self,
        record: JobRecord,
        status: Literal["Completed", "Failed", "Stopped"],
        *,
        reason: str | None = None,
    ) -> None:
        """End a job. `reason` is cut to the service's 1,024 characters; ending twice changes nothing."""
        if record.terminal:
            return
        record.status = status
        record.failure_reason = reason[:MAX_REASON] if reason else None
        record.ended = self._enter(record, status, record.failure_reason or "")
        record.transitions[-1].end = record.ended
        self._save(record)

    def stop_requested(self, record: JobRecord) -> bool:
        """Has StopJob been called? The runner asks between two steps."""
        return record.status == "Stopping"

    def unfinished(self) -> list[JobRecord]:
        """The jobs that a runner has to resume after a restart, oldest first."""
        active = [record for record in self._records.values() if not record.terminal]
        return sorted(active, key=lambda record: record.created)

    # Last of the public ones: below it, `list` is this method and no longer the type.
    def list(self, query: JobQuery, *, limit: int = DEFAULT_PAGE, next_token: str | None = None) -> Page:
        """A page of the jobs that match, and a token while there are more.

        Raises:
            JobError: ValidationException for a token that is not of this query.
        """
        found = sorted(filter(query.matches, self._records.values()), key=query.rank)
        if query.descending:
            found.reverse()
        if next_token is not None:
            last = query.position(next_token)
            found = [record for record in found if _follows(query, query.rank(record), last)]
        page = found[:limit]
        return page, query.token(page[-1]) if len(found) > limit else None

    def _admit(self, name: str, category: str) -> None:
        if (category, name) in self._records:
            raise JobError("ResourceInUse", f"A {category} job named {name!r} exists: choose another name.")
        running = [record for record in self.unfinished() if record.category == category]
        if len(running) >= MAX_CONCURRENT:
            raise JobError(
                "ResourceLimitExceeded",
                f"The account may run {MAX_CONCURRENT} {category} job at a time, and {running[0].name!r} is "
                f"{running[0].status}: wait for it, or stop it.",
            )

    def _now(self) -> float:
        # In milliseconds, as the service tells times: a filter by a time that was told is then exact.
        return round(self._clock(), 3)

    def _enter(self, record: JobRecord, secondary: str, message: str) -> float:
        now = self._now()
        if record.transitions and record.transitions[-1].end is None:
            record.transitions[-1].end = now
        record.transitions.append(Transition(secondary, now, message=message))
        del record.transitions[:-MAX_TRANSITIONS]
        record.secondary = secondary
        return now

    def _save(self, record: JobRecord) -> None:
        record.modified = self._now()
        self._store.put(_TABLE, _key(record), asdict(record))


def _follows(query: JobQuery, rank: tuple[Any, str], last: tuple[Any, str]) -> bool:
    return rank < last if query.descending else rank > last


def _key(record: JobRecord) -> str:
    # A name holds no slash, so the key is unique to the category and the name.
    return f"{record.category}/{record.name}"


def _load(document: dict[str, Any]) -> JobRecord:
    transitions = [Transition(**item) for item in document.pop("transitions")]
    return JobRecord(**document, transitions=transitions)

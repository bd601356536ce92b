"""The job operations of SageMaker's control plane, in AWS JSON 1.1, at `POST /`.

Requests are held against botocore's own model of the service, so what passes here is what the real one
can parse. Whatever a client sends, the answer is a JSON error with a 4xx status, never a traceback.
"""

import functools
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema_rs
import orjson
from aiohttp import web
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from rehearsal.service import schema
from rehearsal.service.state.jobs import CATEGORIES, DEFAULT_PAGE, JobError, JobQuery, JobRecord, Jobs

CONTENT_TYPE = "application/x-amz-json-1.1"
MAX_BODY_BYTES = 2 * 1024 * 1024
"""A document of 262,144 characters fits even if JSON escapes each of them."""
_TARGET_PREFIX = "SageMaker"
_MAX_TIMESTAMP = 253_402_300_799
"""The last second of the year 9999: later ones are no date in any client."""

_MAX_LINE = 400

Parameters = dict[str, Any]


@functools.cache
def _service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"))


class ControlPlane:
    """Answers CreateJob, DescribeJob, ListJobs, StopJob, DeleteJob and the two schema operations."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._operations: dict[str, Callable[[Parameters], Parameters]] = {
            "CreateJob": self._create,
            "DescribeJob": self._describe,
            "ListJobs": self._list,
            "StopJob": self._stop,
            "DeleteJob": self._delete,
            "ListJobSchemaVersions": self._schema_versions,
            "DescribeJobSchemaVersion": self._schema_version,
        }
        # Parsing the model takes about 70 ms: at the start, not inside the first request.
        _service()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; refusals are `{"__type": code, "message": ...}`, 403 or 400."""
        try:
            name = self._operation(request)
            body = _parse(await _read(request))
            result = self._operations[name](_validated(name, body))
        except JobError as error:
            return _refusal(error)
        return _response(200, result)

    def _operation(self, request: web.Request) -> str:
        if "Authorization" not in request.headers:
            raise JobError("MissingAuthenticationTokenException", "The request has no Authorization header.")
        target = request.headers.get("X-Amz-Target", "")
        prefix, _, name = target.partition(".")
        if prefix != _TARGET_PREFIX or name not in self._operations:
            served = ", ".join(self._operations)
            message = f"X-Amz-Target: {target[:100]!r} is not served here. Served: {served}."
            raise JobError("UnknownOperationException", message)
        return name

    def _create(self, given: Parameters) -> Parameters:
        category = given["JobCategory"]
        if given["JobConfigSchemaVersion"] not in schema.VERSIONS:
            raise _invalid(f"JobConfigSchemaVersion: the versions are {', '.join(schema.VERSIONS)}")
        document = _document(given["JobConfigDocument"])
        if found := schema.problems(category, document) or _elsewhere(document, self._jobs.region):
            raise _invalid(*found)
        record = self._jobs.create(
            name=given["JobName"],
            category=category,
            role_arn=given["RoleArn"],
            schema_version=given["JobConfigSchemaVersion"],
            document=document,
            tags=given.get("Tags", []),
        )
        return {"JobArn": record.arn}

    def _describe(self, given: Parameters) -> Parameters:
        record = self._jobs.get(given["JobName"], given["JobCategory"])
        described = {
            **_summary(record, "SecondaryStatus"),
            "RoleArn": record.role_arn,
            "JobConfigSchemaVersion": record.schema_version,
            "JobConfigDocument": orjson.dumps(record.config_document()).decode(),
            "SecondaryStatusTransitions": _transitions(record),
        }
        if record.failure_reason:
            described["FailureReason"] = record.failure_reason
        if record.tags:
            described["Tags"] = record.tags
        return described

    def _list(self, given: Parameters) -> Parameters:
        query = JobQuery(
            category=given["JobCategory"],
            created_after=given.get("CreationTimeAfter"),
            created_before=given.get("CreationTimeBefore"),
            modified_after=given.get("LastModifiedTimeAfter"),
            modified_before=given.get("LastModifiedTimeBefore"),
            name_contains=given.get("NameContains", ""),
            status=given.get("StatusEquals"),
            sort_by=given.get("SortBy", "CreationTime"),
            descending=given.get("SortOrder", "Descending") == "Descending",
        )
        limit = given.get("MaxResults", DEFAULT_PAGE)
        records, token = self._jobs.list(query, limit=limit, next_token=given.get("NextToken"))
        page: Parameters = {"JobSummaries": [_summary(record, "JobSecondaryStatus") for record in records]}
        return {**page, "NextToken": token} if token else page

    def _stop(self, given: Parameters) -> Parameters:
        self._jobs.stop(given["JobName"], given["JobCategory"])
        return {}

    def _delete(self, given: Parameters) -> Parameters:
        self._jobs.delete(given["JobName"], given["JobCategory"])
        return {}

    def _schema_versions(self, given: Parameters) -> Parameters:
        # One page holds them all, so no token was ever handed out.
        if "NextToken" in given:
            raise _invalid("NextToken: is not a token of this query")
        return {"JobConfigSchemas": [{"JobConfigSchemaVersion": version} for version in schema.VERSIONS]}

    def _schema_version(self, given: Parameters) -> Parameters:
        category, version = given["JobCategory"], given.get("JobConfigSchemaVersion", schema.VERSIONS[0])
        if version not in schema.VERSIONS:
            raise JobError("ResourceNotFound", f"There is no schema version {version!r} of {category}.")
        return {
            "JobCategory": category,
            "JobConfigSchemaVersion": version,
            "JobConfigSchema": schema.schema(category),
        }


def _summary(record: JobRecord, secondary: str) -> Parameters:
    """What ListJobs and DescribeJob both tell; they name the secondary status differently."""
    told: Parameters = {
        "JobName": record.name,
        "JobArn": record.arn,
        "JobCategory": record.category,
        "JobStatus": record.status,
        secondary: record.secondary,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }
    return told if record.ended is None else {**told, "EndTime": record.ended}


def _transitions(record: JobRecord) -> list[Parameters]:
    told = []
    for step in record.transitions:
        item: Parameters = {"Status": step.status, "StartTime": step.start}
        if step.end is not None:
            item["EndTime"] = step.end
        if step.message:
            item["StatusMessage"] = step.message
        told.append(item)
    return told


async def _read(request: web.Request) -> bytes:
    """The body, read here because aiohttp's own limit answers in HTML."""
    body = bytearray()
    try:
        async for chunk in request.content.iter_chunked(65_536):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _unreadable(f"the body is longer than {MAX_BODY_BYTES} bytes")
    except web.RequestPayloadError as error:
        raise _unreadable(f"the body cannot be read: {error}") from None
    return bytes(body)


def _parse(body: bytes) -> Parameters:
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise _unreadable(f"the body is not valid JSON: {error}") from None
    if not isinstance(given, dict):
        raise _unreadable("the body is not a JSON object")
    if schema.too_deep(given):
        raise _unreadable(f"the body is nested more than {schema.MAX_DEPTH} levels deep")
    # AWS clients leave a member out; others send null for the same.
    return {name: value for name, value in given.items() if value is not None}


def _document(text: str) -> Parameters:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"JobConfigDocument: is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise _invalid("JobConfigDocument: is not a JSON object")
    return document


def _validated(operation: str, given: Parameters) -> Parameters:
    """The parameters, if they are what the operation's input shape describes.

    Raises:
        JobError: ValidationException that names every member that is wrong.
    """
    shape = _service().operation_model(operation).input_shape
    # botocore raises on a number that is no date, so the times are left to `_constraints` alone.
    times = {name for name, member in shape.members.items() if member.type_name == "timestamp"}
    report = ParamValidator().validate({k: v for k, v in given.items() if k not in times}, shape)
    found = [*report.generate_report().splitlines(), *_constraints(shape, given, "")]
    if found:
        # The report repeats whole values, which may be as long as the body.
        raise _invalid(*(line[:_MAX_LINE] for line in found[: schema.MAX_PROBLEMS]))
    category = given["JobCategory"]
    if category not in CATEGORIES:
        raise _invalid(f"JobCategory: the stand-in serves {' and '.join(CATEGORIES)}, not {category}")
    keys = [tag["Key"] for tag in given.get("Tags", [])]
    if len(keys) != len(set(keys)):
        raise _invalid("Tags: a key is there twice")
    return given


def _constraints(shape: Any, value: Any, where: str) -> Iterator[str]:
    """What `ParamValidator` leaves to the service: patterns, enums, upper limits, the form of a time.

    A value of another wrong type, or one below a lower limit, is passed over: `ParamValidator` names it.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for name, member in shape.members.items():
            if name in value:
                yield from _constraints(member, value[name], f"{where}.{name}" if where else name)
    elif kind == "list" and isinstance(value, list):
        yield from _maximum(shape.metadata, len(value), f"{where}: the number of items")
        for index, item in enumerate(value[: shape.metadata.get("max")]):
            yield from _constraints(shape.member, item, f"{where}[{index}]")
    elif kind == "string" and isinstance(value, str):
        yield from _string_constraints(shape.metadata, value, where)
    elif kind == "integer":
        yield from _integer_constraints(shape.metadata, value, where)
    elif kind == "timestamp":
        yield from _timestamp_constraints(value, where)


def _string_constraints(limits: Mapping[str, Any], value: str, where: str) -> Iterator[str]:
    too_long = list(_maximum(limits, len(value), f"{where}: the length"))
    yield from too_long
    # What is too long is not held against a pattern as well: one line about it is enough.
    if value and not too_long and "pattern" in limits and not _pattern(limits["pattern"]).is_valid(value):
        yield f"{where}: {value[:100]!r} does not match {limits['pattern']}"
    if "enum" in limits and value not in limits["enum"]:
        yield f"{where}: {value[:100]!r} is not one of {', '.join(limits['enum'])}"


def _integer_constraints(limits: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"{where}: must be a number, not a boolean"
    elif isinstance(value, int):
        yield from _maximum(limits, value, where)


def _timestamp_constraints(value: Any, where: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= _MAX_TIMESTAMP:
        yield f"{where}: must be a number of seconds since 1970"


def _maximum(limits: Mapping[str, Any], number: int, what: str) -> Iterator[str]:
    if number > limits.get("max", number):
        yield f"{what}: {number} is more than the maximum {limits['max']}"


@functools.cache
def _pattern(pattern: str) -> Any:
    r"""A matcher of whole strings. The model's `\p{L}` is no syntax of Python's `re`; this engine has it."""
    return jsonschema_rs.validator_for({"pattern": f"^(?:{pattern})$"})


def _elsewhere(document: Parameters, region: str) -> list[str]:
    """An AgentCore runtime is invoked in the job's own Region; of functions nothing of the kind is known."""
    runtime = document["AgentConfig"].get("BedrockAgentCoreConfig", {}).get("AgentRuntimeArn")
    where = runtime.split(":")[3] if runtime else region
    member = "JobConfigDocument.AgentConfig.BedrockAgentCoreConfig.AgentRuntimeArn"
    text = f"{member}: the runtime is in {where}, this job in {region}; create the job in {where}"
    return [text] if where != region else []


def _invalid(*found: str) -> JobError:
    return JobError("ValidationException", "; ".join(found))


def _unreadable(message: str) -> JobError:
    return JobError("SerializationException", message)


def _refusal(error: JobError) -> web.Response:
    status = 403 if error.code == "MissingAuthenticationTokenException" else 400
    return _response(status, {"__type": error.code, "message": error.message})


def _response(status: int, body: Parameters) -> web.Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    # Not `text=`: aiohttp would add a charset, and AWS JSON has none.
    return web.Response(status=status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers=headers)

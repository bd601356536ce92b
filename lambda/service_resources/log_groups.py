"""Retention and key of log groups that AWS services name themselves (`Custom::MtrlLogGroups`).

CloudFormation cannot do it: the groups may exist already, and one, `/aws/sagemaker/Job/AgentRFT`, belongs to
the whole account. So a group that is there is taken as it is, and only what is missing is added:

    missing             created, with the key, so that the service finds it ready
    no retention        set (a group that nobody has set keeps its events for ever)
    shorter retention   lengthened
    longer retention    kept, and reported in `KeptRetention`, unless `Own`
    no key              associated
    another key         kept, and reported in `KeptKey`, unless `Own`

Nothing is ever deleted or taken back; Delete answers SUCCESS and leaves the groups to who else uses them.

Properties:
    LogGroups       exact names
    Prefixes        the groups that exist under `/aws/<service>/<something>…` are treated alike
    RetentionDays   a value that CloudWatch Logs takes
    KmsKeyArn       the key; without it keys are left alone
    Own             "true": these groups are this deployment's alone, so its settings replace what is there

Data: `Groups`, `Created` (numbers), `KeptRetention`, `KeptKey` (names, or "none").

IAM actions:
    logs:DescribeLogGroups   on `arn:…:log-group:*` (it takes no narrower resource)
    logs:CreateLogGroup, logs:PutRetentionPolicy, logs:AssociateKmsKey
                             on `arn:…:log-group:<name or prefix>*` of each
The key's policy must let `logs.<region>.amazonaws.com` use the key for these groups; the function itself
needs no permission on the key.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from cfn_response import Context, Failed, Request, Result, flag, log, serve, strings

RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096),
    *(1827, 2192, 2557, 2922, 3288, 3653),
)
# `/aws/` or `/aws/lambda/` alone would take in the groups of everybody in the account.
PREFIX = re.compile(r"/aws/[^/]+/.+")
CONFLICT_ATTEMPTS = 6
CONFLICT_SECONDS = 0.5
MAX_DATA = 700

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 6})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the properties ask for."""

    names: list[str]
    prefixes: list[str]
    retention: int
    key: str | None
    own: bool


@dataclass(kw_only=True)
class Report:
    """What was found and done."""

    groups: set[str] = field(default_factory=set)
    created: int = 0
    kept_retention: list[str] = field(default_factory=list)
    kept_key: list[str] = field(default_factory=list)

    def data(self) -> dict[str, str]:
        return {
            "Groups": str(len(self.groups)),
            "Created": str(self.created),
            "KeptRetention": _joined(self.kept_retention),
            "KeptKey": _joined(self.kept_key),
        }


def handler(event: Mapping[str, Any], context: Context) -> None:
    """Lambda's entry."""
    serve(event, context, work)


def work(request: Request) -> Result:
    """Bring the groups to what the properties ask for."""
    if request.kind == "Delete":
        return Result(physical_id=request.physical_id)
    wanted = _wanted(request.properties)
    logs = boto3.client("logs", config=_CONFIG)
    report = Report()
    for name in wanted.names:
        _apply(logs, _found(logs, name) or _created(logs, name, wanted, report), wanted, report)
    for prefix in wanted.prefixes:
        for group in _under(logs, prefix):
            if group["logGroupName"] not in report.groups:
                _apply(logs, group, wanted, report)
    return Result(physical_id=request.physical_id, data=report.data())


def _wanted(properties: Mapping[str, Any]) -> Wanted:
    days = str(properties.get("RetentionDays", ""))
    if not days.isdecimal() or int(days) not in RETENTION_DAYS:
        raise Failed(f"RetentionDays: {days!r} is none of {', '.join(map(str, RETENTION_DAYS))}")
    prefixes = strings(properties, "Prefixes")
    for prefix in prefixes:
        if not PREFIX.fullmatch(prefix):
            raise Failed(f"Prefixes: {prefix!r} is too wide; it must be /aws/<service>/<something>")
    return Wanted(
        names=strings(properties, "LogGroups"),
        prefixes=prefixes,
        retention=int(days),
        key=properties.get("KmsKeyArn") or None,
        own=flag(properties, "Own"),
    )


def _under(logs: Any, prefix: str) -> Iterator[dict[str, Any]]:
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
        yield from page["logGroups"]


def _found(logs: Any, name: str) -> dict[str, Any] | None:
    return next((group for group in _under(logs, name) if group["logGroupName"] == name), None)


def _created(logs: Any, name: str, wanted: Wanted, report: Report) -> dict[str, Any]:
    """The group, made here, or meanwhile by the service or another deployment."""
    key = {"kmsKeyId": wanted.key} if wanted.key else {}
    try:
        _patiently(lambda: logs.create_log_group(logGroupName=name, **key), name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise Failed(f"{name}: {error}") from None
        return _found(logs, name) or {"logGroupName": name}
    report.created += 1
    return {"logGroupName": name, **key}


def _apply(logs: Any, group: Mapping[str, Any], wanted: Wanted, report: Report) -> None:
    name = group["logGroupName"]
    report.groups.add(name)
    try:
        _retain(logs, group, wanted, report)
        _encrypt(logs, group, wanted, report)
    except ClientError as error:
        raise Failed(f"{name}: {error}") from None


def _retain(logs: Any, group: Mapping[str, Any], wanted: Wanted, report: Report) -> None:
    name, days = group["logGroupName"], group.get("retentionInDays")
    if days == wanted.retention:
        return
    if days is not None and days > wanted.retention and not wanted.own:
        log("kept_retention", group=name, days=days, wanted=wanted.retention)
        report.kept_retention.append(name)
        return
    _patiently(lambda: logs.put_retention_policy(logGroupName=name, retentionInDays=wanted.retention), name)


def _encrypt(logs: Any, group: Mapping[str, Any], wanted: Wanted, report: Report) -> None:
    name, key = group["logGroupName"], group.get("kmsKeyId")
    if wanted.key is None or key == wanted.key:
        return
    if key is not None and not wanted.own:
        log("kept_key", group=name, key=key, wanted=wanted.key)
        report.kept_key.append(name)
        return
    _patiently(lambda: logs.associate_kms_key(logGroupName=name, kmsKeyId=wanted.key), name)


def _patiently(call: Callable[[], object], name: str) -> None:
    """Call again while another deployment changes the same group; botocore does not retry this error."""
    for attempt in range(1, CONFLICT_ATTEMPTS + 1):
        try:
            call()
        except ClientError as error:
            aborted = error.response["Error"]["Code"] == "OperationAbortedException"
            if not aborted or attempt == CONFLICT_ATTEMPTS:
                raise
            log("conflict", group=name, attempt=attempt)
            time.sleep(CONFLICT_SECONDS * attempt)
        else:
            return


def _joined(names: list[str]) -> str:
    # An answer to CloudFormation is 4 KB at most; the log has every name.
    text = ", ".join(names) or "none"
    return text if len(text) <= MAX_DATA else text[:MAX_DATA] + "…"

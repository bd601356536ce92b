"""The log groups that services name themselves: against CloudWatch Logs of the emulator, over HTTP.

The emulator has no AssociateKmsKey. A server in front of it makes up for that by making the group anew with
the key, and passes every other call on. It also stands for another deployment that changes the same group.
"""

import io
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws import REGION, client, ministack
from tests.lambdas.cfn import FOLDER, SECRET, CloudFormation, Fault, cloudformation, function, json_api

SHARED = "/aws/sagemaker/Job/AgentRFT"
RUNTIME = "/aws/bedrock-agentcore/runtimes/desk-AbC-"
KEY = "arn:aws:kms:us-west-2:111122223333:key/11111111-1111-1111-1111-111111111111"
OTHER = KEY.replace("1111-1111", "2222-2222")
CALLS = {"CreateLogGroup", "DescribeLogGroups", "PutRetentionPolicy", "AssociateKmsKey"}


@dataclass
class Logs:
    """CloudWatch Logs: the emulator, the front, and how often the front is to report a conflict."""

    real: Any
    url: str = ""
    conflicts: int = 0
    calls: list[str] = field(default_factory=list)

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(name)
        if name in ("PutRetentionPolicy", "AssociateKmsKey") and self.conflicts:
            self.conflicts -= 1
            raise Fault("OperationAbortedException", "A conflicting operation is currently in progress")
        assert name in CALLS, f"the function's role does not allow {name}"
        if name == "AssociateKmsKey":
            self._associate(given["logGroupName"], given["kmsKeyId"])
            return {}
        method = {"CreateLogGroup": "create_log_group", "DescribeLogGroups": "describe_log_groups"}
        try:
            found = getattr(self.real, method.get(name, "put_retention_policy"))(**given)
        except ClientError as error:
            raise Fault(error.response["Error"]["Code"], error.response["Error"]["Message"]) from None
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def _associate(self, name: str, key: str) -> None:
        before = self.group(name)
        self.real.delete_log_group(logGroupName=name)
        self.make(name, before["retentionInDays"], key)

    def make(self, name: str, days: int | None = None, key: str | None = None) -> None:
        self.real.create_log_group(logGroupName=name, **({"kmsKeyId": key} if key else {}))
        if days:
            self.real.put_retention_policy(logGroupName=name, retentionInDays=days)

    def group(self, name: str) -> dict[str, Any]:
        groups = self.real.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        return next(group for group in groups if group["logGroupName"] == name)

    def state(self, name: str) -> tuple[int | None, str | None]:
        group = self.group(name)
        return group.get("retentionInDays"), group.get("kmsKeyId")

    def names(self) -> list[str]:
        pages = self.real.get_paginator("describe_log_groups").paginate()
        return [group["logGroupName"] for page in pages for group in page["logGroups"]]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ministack(tmp_path_factory.mktemp("aws") / "log") as url:
        yield url


@pytest.fixture
def logs(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    logs = Logs(client("logs", emulator))
    for name in logs.names():
        logs.real.delete_log_group(logGroupName=name)
    with json_api("logs", logs.answer) as url:
        logs.url = url
        variables = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": os.devnull}
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        for name, value in {**variables, **keys}.items():
            monkeypatch.setenv(name, value)
        yield logs


@pytest.fixture
def module() -> Iterator[ModuleType]:
    with function("log_groups") as module:
        yield module


@pytest.fixture
def cfn() -> Iterator[CloudFormation]:
    with cloudformation() as cfn:
        yield cfn


def wanted(**more: Any) -> dict[str, Any]:
    """Properties, as CloudFormation hands them over: every scalar is text."""
    return {"LogGroups": [SHARED], "RetentionDays": "90", "KmsKeyArn": KEY, **more}


def test_a_missing_group_is_created_and_a_second_run_changes_nothing(
    cfn: CloudFormation, module: ModuleType, logs: Logs
) -> None:
    first = cfn.ask(module, "Create", wanted())
    assert first["Status"] == "SUCCESS"
    assert first["Data"] == {"Groups": "1", "Created": "1", "KeptRetention": "none", "KeptKey": "none"}
    assert logs.state(SHARED) == (90, KEY)
    logs.calls.clear()
    again = cfn.ask(module, "Create", wanted())
    assert again["Data"]["Created"] == "0"
    assert again["PhysicalResourceId"] == first["PhysicalResourceId"]
    assert set(logs.calls) == {"DescribeLogGroups"}


@pytest.mark.parametrize(
    ("days", "key", "own", "state", "kept"),
    [
        (None, None, "false", (90, KEY), ("none", "none")),
        (30, KEY, "false", (90, KEY), ("none", "none")),
        (365, None, "false", (365, KEY), (SHARED, "none")),
        (90, OTHER, "false", (90, OTHER), ("none", SHARED)),
        (365, OTHER, "false", (365, OTHER), (SHARED, SHARED)),
        (365, OTHER, "true", (90, KEY), ("none", "none")),
    ],
)
def test_what_others_have_set_stays(
    cfn: CloudFormation,
    module: ModuleType,
    logs: Logs,
    days: int | None,
    key: str | None,
    own: str,
    state: tuple[int, str],
    kept: tuple[str, str],
) -> None:
    logs.make(SHARED, days, key)
    answer = cfn.ask(module, "Update", wanted(Own=own), PhysicalResourceId="groups")
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "groups")
    assert logs.state(SHARED) == state
    assert (answer["Data"]["KeptRetention"], answer["Data"]["KeptKey"]) == kept


def test_a_group_of_a_longer_name_is_another_group(
    cfn: CloudFormation, module: ModuleType, logs: Logs
) -> None:
    logs.make(SHARED + "Evaluation", 30)
    assert cfn.ask(module, "Create", wanted())["Data"]["Groups"] == "1"
    assert logs.state(SHARED) == (90, KEY)
    assert logs.state(SHARED + "Evaluation") == (30, None)


def test_a_prefix_takes_in_every_page_and_creates_nothing(
    cfn: CloudFormation, module: ModuleType, logs: Logs
) -> None:
    names = [f"{RUNTIME}{number:03}" for number in range(60)]  # a page has 50
    for name in [*names, "/aws/bedrock-agentcore/runtimes/other-1"]:
        logs.make(name)
    answer = cfn.ask(
        module, "Create", wanted(LogGroups=[names[0]], Prefixes=[RUNTIME, RUNTIME.replace("desk", "none")])
    )
    assert answer["Data"]["Groups"] == "60"
    assert answer["Data"]["Created"] == "0"
    assert {logs.state(name) for name in names} == {(90, KEY)}
    assert logs.state("/aws/bedrock-agentcore/runtimes/other-1") == (None, None)
    assert len(logs.names()) == 61


def test_many_kept_groups_fit_into_the_answer(cfn: CloudFormation, module: ModuleType, logs: Logs) -> None:
    for number in range(40):
        logs.make(f"{RUNTIME}{number:02}{'x' * 60}", 365, OTHER)
    answer = cfn.ask(module, "Create", wanted(LogGroups=[], Prefixes=[RUNTIME]))
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["KeptKey"].startswith(f"{RUNTIME}00")


def test_without_a_key_the_keys_are_left_alone(cfn: CloudFormation, module: ModuleType, logs: Logs) -> None:
    properties = wanted(Own="true")
    del properties["KmsKeyArn"]
    logs.make(SHARED, 365, OTHER)
    assert cfn.ask(module, "Create", properties)["Data"]["KeptKey"] == "none"
    assert logs.state(SHARED) == (90, OTHER)


def test_another_deployment_at_the_same_group_is_waited_for(
    cfn: CloudFormation, module: ModuleType, logs: Logs
) -> None:
    logs.make(SHARED)
    logs.conflicts = 2
    assert cfn.ask(module, "Create", wanted())["Status"] == "SUCCESS"
    assert logs.state(SHARED) == (90, KEY)


def test_a_conflict_without_end_names_the_group(
    cfn: CloudFormation, module: ModuleType, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFLICT_SECONDS", 0.001)
    logs.make(SHARED)
    logs.conflicts = 100
    answer = cfn.ask(module, "Create", wanted())
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(f"{SHARED}: ")
    assert "OperationAbortedException" in answer["Reason"]


@pytest.mark.parametrize("properties", [wanted(), {}, {"RetentionDays": "4", "LogGroups": "x"}])
def test_delete_touches_nothing(
    cfn: CloudFormation, module: ModuleType, logs: Logs, properties: dict[str, Any]
) -> None:
    logs.make(SHARED, 30)
    answer = cfn.ask(module, "Delete", properties, PhysicalResourceId="groups")
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "groups")
    assert logs.state(SHARED) == (30, None)
    assert logs.calls == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"RetentionDays": "91"}, r"RetentionDays: '91' is none of 1, 3, 5, 7, .*3653"),
        ({"RetentionDays": ""}, r"RetentionDays: '' is none of"),
        ({"LogGroups": SHARED}, r"LogGroups: must be a list"),
        ({"LogGroups": [""]}, r"LogGroups: must be a list"),
        ({"Prefixes": ["/aws/"]}, r"Prefixes: '/aws/' is too wide"),
        ({"Prefixes": ["/aws/lambda/"]}, r"Prefixes: '/aws/lambda/' is too wide"),
        ({"Own": "yes"}, r"Own: must be true or false, not 'yes'"),
    ],
)
def test_wrong_properties_fail_before_anything_is_done(
    cfn: CloudFormation, module: ModuleType, logs: Logs, properties: dict[str, Any], reason: str
) -> None:
    answer = cfn.ask(module, "Create", wanted(**properties))
    assert answer["Status"] == "FAILED"
    assert re.match(reason, answer["Reason"])
    assert logs.calls == []


def test_an_unknown_request_fails(cfn: CloudFormation, module: ModuleType, logs: Logs) -> None:
    answer = cfn.ask(module, "Read", wanted())
    assert (answer["Status"], logs.calls) == ("FAILED", [])


def test_an_unforeseen_error_is_answered(
    cfn: CloudFormation, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_wanted", lambda properties: os.environ["ü" * 5000])
    answer = cfn.ask(module, "Create", wanted())
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("KeyError: ")


def test_a_service_that_hangs_is_answered_for_in_time(
    cfn: CloudFormation, module: ModuleType, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:  # connects, and says nothing
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{hole.getsockname()[1]}")
        begun = time.monotonic()
        answer = cfn.ask(module, "Create", wanted(), remaining=2.0)
        assert time.monotonic() - begun < 2.0, "Lambda would have killed the function before it answered"
    assert answer["Status"] == "FAILED"
    assert "ran out of time" in answer["Reason"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", logs.url)
    assert cfn.ask(module, "Create", wanted())["Status"] == "SUCCESS", "the limit outlived its request"


@pytest.mark.usefixtures("logs")
def test_an_answer_that_is_refused_is_sent_again(
    cfn: CloudFormation, module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    cfn.refusals = 2
    assert cfn.ask(module, "Create", wanted())["Status"] == "SUCCESS"
    cfn.refusals = 3
    with pytest.raises(OSError, match="503"):  # Lambda then runs the request again
        cfn.ask(module, "Create", wanted())
    out = capsys.readouterr()
    assert "not_answered" in out.out
    assert SECRET not in out.out + out.err


def test_as_a_stack_deploys_it(emulator: str) -> None:
    """The emulator's own CloudFormation and Lambda: the zip, the handler's name, the answer, Fn::GetAtt."""
    logs = Logs(client("logs", emulator))
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as package:
            for path in FOLDER.rglob("*.py"):
                package.write(path, path.relative_to(FOLDER))
        code = buffer.getvalue()
    arn = client("lambda", emulator).create_function(
        FunctionName="log-groups",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/x",
        Handler="log_groups.handler",
        Code={"ZipFile": code},
        Timeout=60,
    )["FunctionArn"]
    properties = {"ServiceToken": arn, "LogGroups": ["/aws/deployed"], "RetentionDays": 30, "KmsKeyArn": KEY}
    resource = {"Type": "Custom::MtrlLogGroups", "Properties": properties}
    outputs = {"Created": {"Value": {"Fn::GetAtt": ["Groups", "Created"]}}}
    formation = client("cloudformation", emulator)
    formation.create_stack(
        StackName="dev", TemplateBody=json.dumps({"Resources": {"Groups": resource}, "Outputs": outputs})
    )
    formation.get_waiter("stack_create_complete").wait(
        StackName="dev", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    (stack,) = formation.describe_stacks(StackName="dev")["Stacks"]
    assert stack["Outputs"][0]["OutputValue"] == "1"
    assert logs.state("/aws/deployed") == (30, KEY)
    formation.delete_stack(StackName="dev")
    formation.get_waiter("stack_delete_complete").wait(
        StackName="dev", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert logs.state("/aws/deployed") == (30, KEY)

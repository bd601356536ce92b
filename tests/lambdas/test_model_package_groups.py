"""Restricted model package groups: the function against a fake SageMaker, over HTTP.

The emulator has no SageMaker. The fake here keeps groups, tags and versions, and is told what botocore's own
model of the service lets through. How SageMaker words a missing group (ValidationException, "does not exist")
and a group that is not empty (ConflictException) is from its documentation and not proved by this.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.loaders
import pytest

from tests.aws import REGION
from tests.lambdas.cfn import STACK, CloudFormation, Fault, cloudformation, function, json_api

NAME = "dev-desk-nova"
NAMED = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
OURS = {"mtrl:stack": STACK, "mtrl:resource": "Thing"}
TEAM = [{"Key": "team", "Value": "desk"}]


@dataclass
class Group:
    name: str
    managed: dict[str, str] | None
    tags: dict[str, str]
    description: str | None = None
    status: str = "Completed"
    passing: int = 0
    """How many calls still see it in a transition."""
    versions: int = 0

    @property
    def arn(self) -> str:
        return f"arn:aws:sagemaker:{REGION}:111122223333:model-package-group/{self.name}"


@dataclass
class SageMaker:
    """A fake: the calls that the function may make, and no others."""

    groups: dict[str, Group] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    hides: int = 0
    """How many calls do not see yet what somebody else has just created."""
    late_version: bool = False
    """Whether a job writes its model package between the look and the deletion."""

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(name)
        operations = {
            "CreateModelPackageGroup": self.create,
            "DescribeModelPackageGroup": self.describe,
            "DeleteModelPackageGroup": self.delete,
            "ListModelPackages": self.versions,
            "ListTags": self.tags,
            "AddTags": self.add_tags,
            "DeleteTags": self.delete_tags,
        }
        return operations[name](given)

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["ModelPackageGroupName"]
        if not NAMED.fullmatch(name):
            raise Fault("ValidationException", f"Value '{name}' at 'modelPackageGroupName' is invalid")
        if name in self.groups:
            raise Fault("ValidationException", "Model Package Group already exists")
        tags = {tag["Key"]: tag["Value"] for tag in given.get("Tags", [])}
        managed, text = given.get("ManagedConfiguration"), given.get("ModelPackageGroupDescription")
        self.groups[name] = Group(name, managed, tags, text, passing=1)
        return {"ModelPackageGroupArn": self.groups[name].arn}

    def describe(self, given: dict[str, Any]) -> dict[str, Any]:
        group = self._get(given)
        if self.hides:
            self.hides -= 1
            raise Fault("ValidationException", f"ModelPackageGroup {group.arn} does not exist.")
        status = "InProgress" if group.passing else group.status
        group.passing = max(0, group.passing - 1)
        found = {
            "ModelPackageGroupName": group.name,
            "ModelPackageGroupArn": group.arn,
            "ModelPackageGroupStatus": status,
        }
        return {**found, **({"ManagedConfiguration": group.managed} if group.managed else {})}

    def delete(self, given: dict[str, Any]) -> dict[str, Any]:
        group = self._get(given)
        if group.versions or self.late_version:
            raise Fault("ConflictException", "the group still contains model packages")
        del self.groups[group.name]
        return {}

    def versions(self, given: dict[str, Any]) -> dict[str, Any]:
        group = self._get(given)
        package = {
            "ModelPackageArn": group.arn + "/1",
            "CreationTime": 1.0,
            "ModelPackageStatus": "Completed",
        }
        return {"ModelPackageSummaryList": [package] * min(group.versions, given["MaxResults"])}

    def tags(self, given: dict[str, Any]) -> dict[str, Any]:
        """One tag a page."""
        tags = self._of(given).tags
        at = int(given.get("NextToken", "0"))
        page = [{"Key": key, "Value": value} for key, value in tags.items()][at : at + 1]
        return {"Tags": page, **({"NextToken": str(at + 1)} if at + 1 < len(tags) else {})}

    def add_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        self._of(given).tags.update({tag["Key"]: tag["Value"] for tag in given["Tags"]})
        return {"Tags": given["Tags"]}

    def delete_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        for key in given["TagKeys"]:
            del self._of(given).tags[key]
        return {}

    def _get(self, given: dict[str, Any]) -> Group:
        name = given["ModelPackageGroupName"]
        if name not in self.groups:
            raise Fault("ValidationException", f"ModelPackageGroup {name} does not exist.")
        return self.groups[name]

    def _of(self, given: dict[str, Any]) -> Group:
        return self.groups[given["ResourceArn"].rpartition("/")[2]]


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMaker]:
    sagemaker = SageMaker()
    with json_api("sagemaker", sagemaker.answer) as url:
        variables = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": os.devnull}
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        for name, value in {**variables, **keys}.items():
            monkeypatch.setenv(name, value)
        yield sagemaker


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with function("model_package_groups") as module:
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
        yield module


@pytest.fixture
def cfn() -> Iterator[CloudFormation]:
    with cloudformation() as cfn:
        yield cfn


@pytest.fixture
def created(cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker) -> Group:
    answer = cfn.ask(module, "Create", {"Name": NAME, "Description": "LoRA of Nova", "Tags": TEAM})
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    return sagemaker.groups[NAME]


def test_it_is_created_restricted_and_a_second_run_finds_it(
    cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker
) -> None:
    properties = {"Name": NAME, "Description": "LoRA of Nova", "Tags": TEAM}
    answer = cfn.ask(module, "Create", properties)
    group = sagemaker.groups[NAME]
    assert group.managed == {"ManagedStorageType": "Restricted"}
    assert (group.tags, group.description) == ({"team": "desk", **OURS}, "LoRA of Nova")
    assert (answer["PhysicalResourceId"], answer["Data"]) == (NAME, {"Arn": group.arn})
    sagemaker.calls.clear()
    assert cfn.ask(module, "Create", properties) == answer
    assert set(sagemaker.calls) == {"DescribeModelPackageGroup", "ListTags"}


def test_a_parallel_run_of_the_same_request_is_no_error(
    cfn: CloudFormation, module: ModuleType, created: Group, sagemaker: SageMaker
) -> None:
    sagemaker.hides = 1
    assert cfn.ask(module, "Create", {"Name": NAME})["Data"] == {"Arn": created.arn}


def test_a_group_that_is_going_is_waited_for_and_made_anew(
    cfn: CloudFormation, module: ModuleType, created: Group, sagemaker: SageMaker
) -> None:
    created.passing = 3
    assert cfn.ask(module, "Create", {"Name": NAME})["Status"] == "SUCCESS"
    assert created.passing == 0


def test_an_unrestricted_group_is_refused_and_survives_the_rollback(
    cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker
) -> None:
    sagemaker.groups[NAME] = Group(NAME, None, {})
    answer = cfn.ask(module, "Create", {"Name": NAME})
    assert answer["Status"] == "FAILED"
    assert "exists and is not restricted" in answer["Reason"]
    rolled_back = cfn.ask(module, "Delete", {"Name": NAME}, PhysicalResourceId=answer["PhysicalResourceId"])
    assert rolled_back["Status"] == "SUCCESS"
    assert NAME in sagemaker.groups


def test_what_was_found_is_used_and_never_deleted(
    cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker
) -> None:
    sagemaker.groups[NAME] = Group(NAME, {"ManagedStorageType": "Restricted"}, {"mtrl:stack": "another"})
    assert cfn.ask(module, "Create", {"Name": NAME, "Tags": TEAM})["Status"] == "SUCCESS"
    assert sagemaker.groups[NAME].tags == {"mtrl:stack": "another", "team": "desk"}
    assert cfn.ask(module, "Delete", {"Name": NAME}, PhysicalResourceId=NAME)["Status"] == "SUCCESS"
    assert NAME in sagemaker.groups


def test_a_group_that_failed_is_refused_and_rolled_back(
    cfn: CloudFormation, module: ModuleType, created: Group, sagemaker: SageMaker
) -> None:
    created.status = "Failed"
    answer = cfn.ask(module, "Create", {"Name": NAME})
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", NAME)
    assert "state Failed" in answer["Reason"]
    cfn.ask(module, "Delete", {"Name": NAME}, PhysicalResourceId=answer["PhysicalResourceId"])
    assert sagemaker.groups == {}


def test_an_update_adds_changes_and_removes_only_its_own_tags(
    cfn: CloudFormation, module: ModuleType, created: Group
) -> None:
    created.tags["finance"] = "7"  # by hand
    answer = cfn.ask(
        module,
        "Update",
        {"Name": NAME, "Tags": [{"Key": "stage", "Value": "dev"}]},
        OldResourceProperties={"Name": NAME, "Tags": TEAM},
        PhysicalResourceId=NAME,
    )
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", NAME)
    assert created.tags == {"stage": "dev", "finance": "7", **OURS}


def test_a_new_name_is_a_new_group_and_the_old_one_goes(
    cfn: CloudFormation, module: ModuleType, created: Group, sagemaker: SageMaker
) -> None:
    old, new = {"Name": NAME, "Tags": TEAM}, {"Name": "renamed"}
    answer = cfn.ask(module, "Update", new, OldResourceProperties=old, PhysicalResourceId=NAME)
    assert answer["PhysicalResourceId"] == "renamed"
    assert answer["Data"]["Arn"] == sagemaker.groups["renamed"].arn
    assert created.name in sagemaker.groups
    cfn.ask(module, "Delete", old, PhysicalResourceId=NAME)
    assert list(sagemaker.groups) == ["renamed"]


def test_a_new_logical_id_keeps_its_group(
    cfn: CloudFormation, module: ModuleType, created: Group, sagemaker: SageMaker
) -> None:
    cfn.ask(module, "Create", {"Name": NAME}, LogicalResourceId="Moved")
    assert created.tags["mtrl:resource"] == "Moved"
    cfn.ask(module, "Delete", {"Name": NAME}, PhysicalResourceId=NAME)
    assert NAME in sagemaker.groups
    cfn.ask(module, "Delete", {"Name": NAME}, PhysicalResourceId=NAME, LogicalResourceId="Moved")
    assert sagemaker.groups == {}


@pytest.mark.parametrize(
    ("retain", "versions", "late", "stays"),
    [
        ("false", 0, False, False),
        ("true", 0, False, True),
        ("false", 3, False, True),
        ("false", 0, True, True),
    ],
)
def test_delete_takes_an_empty_group_of_ours(
    cfn: CloudFormation,
    module: ModuleType,
    created: Group,
    sagemaker: SageMaker,
    capsys: pytest.CaptureFixture[str],
    retain: str,
    versions: int,
    late: bool,
    stays: bool,
) -> None:
    created.versions, sagemaker.late_version = versions, late
    capsys.readouterr()
    answer = cfn.ask(module, "Delete", {"Name": NAME, "Retain": retain}, PhysicalResourceId=NAME)
    assert answer["Status"] == "SUCCESS"
    assert (NAME in sagemaker.groups) is stays
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert ("kept" in events) is stays
    if versions:
        assert "DeleteModelPackageGroup" not in sagemaker.calls


@pytest.mark.parametrize("physical_id", [NAME, "mtrl:Thing:0"])
def test_delete_of_what_is_not_there_succeeds(
    cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker, physical_id: str
) -> None:
    assert cfn.ask(module, "Delete", {}, PhysicalResourceId=physical_id)["Status"] == "SUCCESS"
    assert sagemaker.calls == (["DescribeModelPackageGroup"] if physical_id == NAME else [])


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({}, r"Name: is missing"),
        ({"Name": "a_b"}, r"a_b: .*CreateModelPackageGroup.*is invalid"),
        ({"Name": NAME, "Tags": {"team": "desk"}}, r"Tags: must be a list"),
    ],
)
def test_wrong_properties_fail_with_a_reason(
    cfn: CloudFormation, module: ModuleType, sagemaker: SageMaker, properties: Any, reason: str
) -> None:
    answer = cfn.ask(module, "Create", properties)
    assert answer["Status"] == "FAILED"
    assert re.match(reason, answer["Reason"])
    assert sagemaker.groups == {}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "not authorized; the policy does not exist"),
        ("ValidationException", "1 validation error detected"),
    ],
)
def test_another_error_is_not_taken_for_a_missing_group(
    cfn: CloudFormation,
    module: ModuleType,
    sagemaker: SageMaker,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    message: str,
) -> None:
    def denied(given: dict[str, Any]) -> dict[str, Any]:
        raise Fault(code, message)

    monkeypatch.setattr(sagemaker, "describe", denied)
    for kind in ("Create", "Delete"):
        answer = cfn.ask(module, kind, {"Name": NAME}, PhysicalResourceId=NAME)
        assert answer["Status"] == "FAILED"
        assert code in answer["Reason"]
    assert "CreateModelPackageGroup" not in sagemaker.calls


def test_a_runtime_whose_botocore_does_not_know_restricted_groups(
    cfn: CloudFormation,
    module: ModuleType,
    sagemaker: SageMaker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    for shape in ("CreateModelPackageGroupInput", "DescribeModelPackageGroupOutput"):
        del model["shapes"][shape]["members"]["ManagedConfiguration"]
    del model["shapes"]["ManagedConfiguration"], model["shapes"]["ManagedStorageType"]
    older = tmp_path / "sagemaker/2017-07-24/service-2.json"
    older.parent.mkdir(parents=True)
    older.write_text(json.dumps(model))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert cfn.ask(module, "Create", {"Name": NAME})["Status"] == "SUCCESS"
    assert sagemaker.groups[NAME].managed == {"ManagedStorageType": "Restricted"}

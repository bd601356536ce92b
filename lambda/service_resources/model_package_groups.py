"""A *Restricted* model package group (`Custom::MtrlRestrictedModelPackageGroup`), which Nova models need.

`AWS::SageMaker::ModelPackageGroup` has no property for it. A group is restricted from its creation or never.

    Create, Update   creates the group; one that exists is taken if it is restricted, and refused otherwise
    rename           creates the new one; CloudFormation then sends Delete for the old one
    Delete           deletes the group if this resource created it and it holds no model package

Trained weights are never deleted: a group with versions is kept, said in the log, and the stack goes on. The
tags `mtrl:stack` and `mtrl:resource` say who created a group. One that was found is never deleted, and a
resource that got a new logical id takes its group over before the old id's Delete arrives.

Properties:
    Name          the group's name, which is also the physical id
    Description   set at creation; SageMaker has no call to change it
    Tags          [{"Key", "Value"}]; those that an update takes away are removed
    Retain        "true": Delete keeps the group

Data: `Arn`.

IAM actions, all on `arn:…:model-package-group/<name>`:
    sagemaker:CreateModelPackageGroup, sagemaker:DescribeModelPackageGroup, sagemaker:DeleteModelPackageGroup,
    sagemaker:ListModelPackages, sagemaker:ListTags, sagemaker:AddTags, sagemaker:DeleteTags

`models/` adds ManagedConfiguration to a botocore that is too old to know it, as a Lambda runtime's may be:
without it the parameter would be refused before the call, and its value dropped from the answer.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from cfn_response import Context, Failed, Request, Result, flag, log, serve

RESTRICTED = "Restricted"
STACK_TAG = "mtrl:stack"
RESOURCE_TAG = "mtrl:resource"
TRANSITIONS = ("Pending", "InProgress", "Deleting")
POLL_SECONDS = 1.0

_CONFIG = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 6})


def handler(event: Mapping[str, Any], context: Context) -> None:
    """Lambda's entry."""
    serve(event, context, work, named_by="Name")


def work(request: Request) -> Result:
    """Create, retag or delete the group."""
    if request.kind == "Delete":
        _delete(_sagemaker(), request)
        return Result(physical_id=request.physical_id)
    name = request.properties.get("Name")
    if not isinstance(name, str) or not name:
        raise Failed("Name: is missing")
    tags = _tags(request.properties)
    sagemaker = _sagemaker()
    group = _settled(sagemaker, name) or _created(sagemaker, name, tags, request)
    _check(group, name)
    _retag(sagemaker, group["ModelPackageGroupArn"], tags, request)
    return Result(physical_id=name, data={"Arn": group["ModelPackageGroupArn"]})


def _sagemaker() -> Any:
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.append(str(Path(__file__).parent / "models"))
    return boto3.Session(botocore_session=session).client("sagemaker", config=_CONFIG)


def _tags(properties: Mapping[str, Any]) -> dict[str, str]:
    tags = properties.get("Tags") or []
    try:
        return {tag["Key"]: str(tag["Value"]) for tag in tags}
    except (KeyError, TypeError):
        raise Failed('Tags: must be a list of {"Key", "Value"}') from None


def _owner(request: Request) -> dict[str, str]:
    return {STACK_TAG: request.stack_id, RESOURCE_TAG: request.logical_id}


def _created(sagemaker: Any, name: str, tags: Mapping[str, str], request: Request) -> dict[str, Any]:
    description = request.properties.get("Description")
    try:
        sagemaker.create_model_package_group(
            ModelPackageGroupName=name,
            ManagedConfiguration={"ManagedStorageType": RESTRICTED},
            Tags=_listed({**tags, **_owner(request)}),
            **({"ModelPackageGroupDescription": description} if description else {}),
        )
    except ClientError as error:
        # Another run of the same request may have been faster; what it made is then looked at like any other.
        group = _settled(sagemaker, name)
        if group is None:
            raise Failed(f"{name}: {error}") from None
        return group
    group = _settled(sagemaker, name)
    if group is None:
        raise Failed(f"{name}: was created, and is gone")
    return group


def _settled(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """The group once it is neither coming nor going; None where there is none.

    `serve` bounds the wait.
    """
    while True:
        try:
            group: dict[str, Any] = sagemaker.describe_model_package_group(ModelPackageGroupName=name)
        except ClientError as error:
            if _missing(error):
                return None
            raise Failed(f"{name}: {error}") from None
        if group["ModelPackageGroupStatus"] not in TRANSITIONS:
            return group
        time.sleep(POLL_SECONDS)


def _missing(error: ClientError) -> bool:
    # SageMaker says it in the text of a general error only.
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    return code.startswith("ResourceNotFound") or (
        code == "ValidationException" and "does not exist" in message.lower()
    )


def _check(group: Mapping[str, Any], name: str) -> None:
    status = group["ModelPackageGroupStatus"]
    if status != "Completed":
        raise Failed(f"{name}: the model package group is in the state {status}")
    if group.get("ManagedConfiguration", {}).get("ManagedStorageType") != RESTRICTED:
        raise Failed(
            f"{name}: a model package group of this name exists and is not restricted, which cannot be "
            "changed; delete it or choose another name"
        )


def _retag(sagemaker: Any, arn: str, tags: Mapping[str, str], request: Request) -> None:
    present = _present(sagemaker, arn)
    # Whose group it is stays as it is, but for a resource of the same stack under a new logical id.
    ours = _owner(request) if present.get(STACK_TAG) == request.stack_id else {}
    wanted = {**tags, **ours}
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    removed = sorted((_tags(request.old_properties).keys() - wanted.keys()) & present.keys())
    if changed:
        sagemaker.add_tags(ResourceArn=arn, Tags=_listed(changed))
    if removed:
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=removed)


def _present(sagemaker: Any, arn: str) -> dict[str, str]:
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _delete(sagemaker: Any, request: Request) -> None:
    name = request.physical_id
    if ":" in name or flag(request.properties, "Retain"):
        log("kept", group=name, why="Retain is set, or it never had a name")
        return
    group = _settled(sagemaker, name)
    why = _kept(sagemaker, group, request) if group else "it does not exist"
    if why:
        log("kept", group=name, why=why)
        return
    try:
        sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    except ClientError as error:
        # A job has just put its model package there.
        if error.response["Error"]["Code"] != "ConflictException":
            raise
        log("kept", group=name, why=str(error))


def _kept(sagemaker: Any, group: Mapping[str, Any], request: Request) -> str:
    """Why the group is not to be deleted; empty if it is."""
    tags = _present(sagemaker, group["ModelPackageGroupArn"])
    if not _owner(request).items() <= tags.items():
        return "this resource did not create it"
    versions = sagemaker.list_model_packages(
        ModelPackageGroupName=group["ModelPackageGroupName"], ModelPackageType="Both", MaxResults=1
    )
    return "it holds model packages" if versions["ModelPackageSummaryList"] else ""


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]

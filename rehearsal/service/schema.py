"""The configuration schema of both job categories: published as JSON Schema, and applied.

`schema` is what DescribeJobSchemaVersion serves; `problems` holds a JobConfigDocument against it and adds
what JSON Schema cannot say well: numbers in strings, near misses of a name, groups that must differ.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeGuard

import jsonschema_rs
import orjson

from rehearsal.trainer.hyperparameters import (
    NUMBER,
    EvaluationHyperparameters,
    Hyperparameter,
    HyperparameterError,
    TrainingHyperparameters,
    nearest,
    shown,
)

VERSIONS = ("1.0.0",)
"""Newest first."""
MAX_PROBLEMS = 50
MAX_DEPTH = 32
"""Levels of nesting. No request needs ten; validators and `repr` fail at some hundreds."""
_ROOT = "JobConfigDocument"
_MAX_RUNTIME_SECONDS = 259_200

_Schema = dict[str, Any]
_PREFIX = "arn:aws[a-z-]*"
_HUB = rf"{_PREFIX}:sagemaker:[a-z0-9-]+:([0-9]{{12}}|aws):hub-content/[a-zA-Z0-9_.-]+"
_OWN = rf"{_PREFIX}:sagemaker:[a-z0-9-]+:[0-9]{{12}}"


def _text(meaning: str, pattern: str) -> _Schema:
    return {"type": "string", "description": meaning, "pattern": f"^({pattern})$", "maxLength": 2048}


def _object(members: Mapping[str, _Schema], required: Sequence[str] = (), **more: Any) -> _Schema:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _array(items: _Schema, low: int, high: int) -> _Schema:
    return {"type": "array", "items": items, "minItems": low, "maxItems": high}


_NAME = _text("a name of 1 to 256 characters", r"[^\u0000-\u001f]{1,256}")
# `file://` is the stand-in's own extension: a rehearsal reads its data from this machine and writes to it.
_LOCATION = _text(
    "an s3:// URI, or a file:// URI of this machine",
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?|file:///.+",
)
_MODEL = _text("the ARN of a model in a hub", rf"{_HUB}/Model/[a-zA-Z0-9_.-]+(/[a-zA-Z0-9.]+)?")
_GROUP = _text("the ARN of a model package group", rf"{_OWN}:model-package-group/[a-zA-Z0-9-]{{1,63}}")
_PACKAGE = _text("the ARN of a model package", rf"{_OWN}:model-package/[a-zA-Z0-9-]{{1,63}}(/[0-9]{{1,9}})?")
_KEY = _text(
    "the ARN of a KMS key", rf"{_PREFIX}:kms:[a-z0-9-]+:[0-9]{{12}}:(key/[a-zA-Z0-9-]+|alias/[a-zA-Z0-9/_-]+)"
)
_RUNTIME = _text(
    "the ARN of a Bedrock AgentCore runtime",
    rf"{_PREFIX}:bedrock-agentcore:[a-z0-9-]+:[0-9]{{12}}:runtime/[a-zA-Z0-9_-]+",
)
_LAMBDA = _text(
    "the ARN of a Lambda function",
    rf"{_PREFIX}:lambda:[a-z0-9-]+:[0-9]{{12}}:function:[a-zA-Z0-9_.-]+(:(\$LATEST|[a-zA-Z0-9_-]+))?",
)
_DATASET = _text("the ARN of a data set in a hub", rf"{_HUB}/DataSet/[a-zA-Z0-9_.-]+(/[a-zA-Z0-9.]+)?")
_TRACKING = _text(
    "the ARN of an MLflow app or tracking server", rf"{_OWN}:mlflow-(app|tracking-server)/[a-zA-Z0-9_.-]+"
)

_MLFLOW = _object(
    {"MlflowResourceArn": _TRACKING, "MlflowExperimentName": _NAME, "MlflowRunName": _NAME},
    ["MlflowResourceArn"],
)
_QUALIFIER = _text("the name of a runtime endpoint", "[a-zA-Z][a-zA-Z0-9_]{0,47}")
# One member and no more: a union, in the form whose errors name the member that is wrong.
_AGENT = _object(
    {
        "BedrockAgentCoreConfig": _object(
            {"AgentRuntimeArn": _RUNTIME, "Qualifier": _QUALIFIER}, ["AgentRuntimeArn"]
        ),
        "CustomAgentLambdaConfig": _object({"LambdaArn": _LAMBDA}, ["LambdaArn"]),
    },
    minProperties=1,
    maxProperties=1,
)
_SOURCE = _object(
    {
        "S3DataSource": _object(
            {"S3DataType": {"enum": ["S3Prefix"]}, "S3Uri": _LOCATION}, ["S3DataType", "S3Uri"]
        ),
        "DatasetSource": _object({"DatasetArn": _DATASET}, ["DatasetArn"]),
    },
    minProperties=1,
    maxProperties=1,
)
_OUTPUT = _object({"S3OutputPath": _LOCATION, "KmsKeyArn": _KEY, "MlflowConfig": _MLFLOW}, ["S3OutputPath"])
_VPC = _object(
    {
        "Subnets": _array(_text("a subnet id", "subnet-[0-9a-z-]+"), 1, 16),
        "SecurityGroupIds": _array(_text("a security group id", "sg-[0-9a-z-]+"), 1, 5),
    },
    ["Subnets", "SecurityGroupIds"],
)
_STOPPING = _object(
    {"MaxRuntimeInSeconds": {"type": "integer", "minimum": 1, "maximum": _MAX_RUNTIME_SECONDS}},
    ["MaxRuntimeInSeconds"],
)
_EULA = {"const": True, "description": "true: training needs the licence of the base model accepted"}


def _channels(*names: str) -> _Schema:
    channel = _object({"ChannelName": {"enum": list(names)}, "DataSource": _SOURCE})
    channel["required"] = ["ChannelName", "DataSource"]
    return _array(channel, 1, len(names))


def _hyperparameters(table: Mapping[str, Hyperparameter], *, strings: bool) -> _Schema:
    return _object({name: _value(row, strings) for name, row in table.items()})


def _value(row: Hyperparameter, strings: bool) -> _Schema:
    """One row of the table. The bounds hold for numbers, the pattern for numbers in strings."""
    about = {"description": f"{row.meaning}; {row.allowed}", "default": _default(row, strings)}
    bounds = {"minimum": row.low, "maximum": row.high, "exclusiveMinimum": row.above}
    limits = {keyword: bound for keyword, bound in bounds.items() if bound is not None}
    if row.choices:
        spelt = [str(choice) for choice in row.choices]
        return {**about, "enum": spelt if strings else list(dict.fromkeys([*row.choices, *spelt]))}
    if row.kind == "integers":
        item = {"type": ["integer", "string"], "pattern": f"^{NUMBER}$", **limits}
        return {**about, "type": ["array", "string"], "items": item, "minItems": 1, "pattern": "[0-9]"}
    if strings:
        return {**about, "type": "string", "pattern": f"^{NUMBER}$"}
    return {**about, "type": [row.kind, "string"], "pattern": f"^{NUMBER}$", **limits}


def _default(row: Hyperparameter, strings: bool) -> Any:
    value: Any = list(row.default) if isinstance(row.default, tuple) else row.default
    return orjson.dumps(value).decode() if strings else value


def _training() -> _Schema:
    package = {
        "OutputModelPackageGroupArn": _GROUP,
        "IntermediateCheckpointModelPackageGroupArn": _GROUP,
        "InputModelPackageArn": _PACKAGE,
    }
    config = {
        "BaseModelArn": _MODEL,
        "AcceptEula": _EULA,
        "HyperParameters": _hyperparameters(TrainingHyperparameters.TABLE, strings=False),
        "MlflowConfig": _MLFLOW,
    }
    own = {
        "ModelPackageConfig": _object(package, list(package)[:2]),
        "TrainingConfig": _object(config, ["BaseModelArn"]),
    }
    return _document("AgentRFT", own, list(own), "train", "validation")


def _evaluation() -> _Schema:
    config = {
        "BaseModelArn": _MODEL,
        "AcceptEula": {"type": "boolean"},
        "HyperParameters": _hyperparameters(EvaluationHyperparameters.TABLE, strings=True),
    }
    own = {
        "ModelPackageConfig": _object({"InputModelPackageArn": _PACKAGE}, ["InputModelPackageArn"]),
        "EvaluationConfig": _object(config, ["BaseModelArn"]),
    }
    return _document("AgentRFTEvaluation", own, ["EvaluationConfig"], "evaluation")


def _document(category: str, own: Mapping[str, _Schema], required: list[str], *channels: str) -> _Schema:
    shared = {
        "AgentConfig": _AGENT,
        "InputDataConfig": _channels(*channels),
        "OutputDataConfig": _OUTPUT,
        "VpcConfig": _VPC,
        "StoppingCondition": _STOPPING,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{_ROOT} of a {category} job, version {VERSIONS[0]}",
        **_object({**shared, **own}, [*list(shared)[:3], *required]),
    }


_SCHEMAS = {"AgentRFT": _training(), "AgentRFTEvaluation": _evaluation()}
_SECTIONS = {
    "AgentRFT": ("TrainingConfig", TrainingHyperparameters.from_document, "train"),
    "AgentRFTEvaluation": ("EvaluationConfig", EvaluationHyperparameters.from_document, "evaluation"),
}


def schema(category: str) -> str:
    """The JSON Schema (draft 2020-12) of a category's only version, as a JSON string."""
    return orjson.dumps(_SCHEMAS[category]).decode()


@functools.cache
def _validator(category: str) -> Any:
    return jsonschema_rs.validator_for(_SCHEMAS[category])


def problems(category: str, document: object) -> list[str]:
    """Everything that is wrong with a document, a line each, with the path of the member.

    At most `MAX_PROBLEMS` lines and one that says that there are more.
    """
    found = list(islice(_problems(category, document), MAX_PROBLEMS + 1))
    return [*found[:MAX_PROBLEMS], f"{_ROOT}: and more"] if len(found) > MAX_PROBLEMS else found


def too_deep(value: object) -> bool:
    """Is a parsed JSON value nested beyond `MAX_DEPTH`? Counted without recursion."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [item.values() if isinstance(item, dict) else item for item in level if _holds(item)]
        level = [child for items in inner for child in items]
    return bool(level)


def _holds(value: object) -> TypeGuard[dict[str, object] | list[object]]:
    return isinstance(value, dict | list)


def _problems(category: str, document: object) -> Iterator[str]:
    section, read, required_channel = _SECTIONS[category]
    if too_deep(document):
        yield f"{_ROOT}: is nested more than {MAX_DEPTH} levels deep"
        return
    for error in _validator(category).iter_errors(document):
        path = list(error.instance_path)
        # The table below says it better, with the range and the name that was meant.
        if path[:2] != [section, "HyperParameters"] or (error.kind.name == "type" and len(path) == 2):
            yield from _explain(_SCHEMAS[category], error, path)
    if not isinstance(document, dict):
        return
    config = document.get(section)
    values = config.get("HyperParameters") if isinstance(config, dict) else None
    if isinstance(values, dict):
        yield from _hyperparameter_problems(read, values, f"{_ROOT}.{section}.HyperParameters")
    yield from _channel_problems(document.get("InputDataConfig"), required_channel)
    yield from _group_problems(document.get("ModelPackageConfig"))


def _hyperparameter_problems(read: Any, values: dict[str, object], where: str) -> Iterator[str]:
    try:
        read(values)
    except HyperparameterError as error:
        yield from (f"{where}.{problem}" for problem in error.problems)


def _channel_problems(channels: object, required: str) -> Iterator[str]:
    if not isinstance(channels, list):
        return
    names = [channel.get("ChannelName") for channel in channels if isinstance(channel, dict)]
    if required not in names:
        yield f"{_ROOT}.InputDataConfig: has no channel {required!r}"
    if any(isinstance(name, str) and name in names[:index] for index, name in enumerate(names)):
        yield f"{_ROOT}.InputDataConfig: names a channel twice"


def _group_problems(packages: object) -> Iterator[str]:
    if not isinstance(packages, dict):
        return
    output = packages.get("OutputModelPackageGroupArn")
    if output is not None and output == packages.get("IntermediateCheckpointModelPackageGroupArn"):
        where = f"{_ROOT}.ModelPackageConfig.IntermediateCheckpointModelPackageGroupArn"
        yield f"{where}: must not be the OutputModelPackageGroupArn"


def _explain(root: _Schema, error: Any, path: list[str | int]) -> Iterator[str]:
    """Lines for one error of the validator, which by itself repeats whole instances and patterns."""
    where = _ROOT + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    kind, detail = error.kind.name, error.kind.as_dict()
    here = _parent(root, error.schema_path)
    if kind == "required":
        yield f"{where}.{detail['property']}: is missing"
    elif kind == "additionalProperties":
        for name in detail["unexpected"]:
            near = nearest(name, here["properties"])
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(here['properties'])}"
            yield f"{where}.{name[:60]}: is unknown; {hint}"
    else:
        yield f"{where}: {_reason(kind, detail, here, error.instance)}"


def _reason(kind: str, detail: Mapping[str, Any], here: _Schema, value: object) -> str:
    if kind == "type":
        return f"must be {' or '.join(map(_article, detail['types']))}, not {shown(value)}"
    if kind == "enum":
        return f"{shown(value)} is not one of {', '.join(map(str, detail['options']))}"
    if kind in ("minProperties", "maxProperties"):
        return f"must hold exactly one of {', '.join(here['properties'])}"
    if kind in ("pattern", "const", "maxLength"):
        return (
            f"{shown(value)} is not {here['description']}"
            if kind != "const"
            else f"must be {here['description']}"
        )
    words = {"minimum": "less than the minimum", "maximum": "more than the maximum"}
    counts = {"minItems": "fewer items than", "maxItems": "more items than"}
    if kind in words:
        return f"{shown(value)} is {words[kind]} {detail['limit']}"
    return f"has {counts.get(kind, kind)} {detail.get('limit', '')}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _parent(root: _Schema, path: Sequence[str | int]) -> _Schema:
    """The subschema whose keyword failed: the last part of the path is that keyword."""
    here: Any = root
    for part in path[:-1]:
        here = here[part]
    found: _Schema = here
    return found

"""What a user sees when the settings are wrong: every mistake, one a line, with the nearest valid name."""

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


class SettingsError(Exception):
    """The settings cannot be deployed; `problems` are whole sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def nearest(name: object, accepted: Iterable[str]) -> str:
    """`. Did you mean 'fargate'?`, and what there is."""
    names = sorted(accepted)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} Accepted: {', '.join(names)}." if names else " None is declared."


def refusal(error: Exception) -> str:
    """What a command that ends with exit code 2 writes to stderr."""
    return "The settings cannot be deployed:\n" + "".join(f"  {line}\n" for line in str(error).splitlines())


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence for each mistake that pydantic found."""
    details = error.errors(include_url=False)
    # Of a list, pydantic counts the items that are right: after a wrong one it also finds too few.
    listed = {detail["loc"][:-1] for detail in details}
    real = [each for each in details if each["type"] != "too_short" or each["loc"] not in listed]
    return [_sentence(dict(detail), model) for detail in real]


def _sentence(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    location, given, kind, context = detail["loc"], detail["input"], detail["type"], detail.get("ctx", {})
    where = _where(location)
    if kind == "extra_forbidden":
        return f"{where}: unknown key.{nearest(location[-1], _keys(model, location[:-1]))}"
    if kind == "literal_error":
        accepted = [part.strip(" '") for part in context["expected"].replace(" or ", ", ").split(",")]
        return f"{where}: unknown value '{given}'.{nearest(given, accepted)}"
    if kind == "missing":
        return f"{where}: is required."
    if kind == "too_short":
        return f"{where}: must have {context['min_length']} or more, and has {context['actual_length']}."
    if kind == "value_error":
        return f"{where}: {context['error']}."
    if kind == "string_pattern_mismatch":
        return f"{where}: '{given}' does not have the form of {_form(location, context['pattern'])}."
    reason = LEAST_BECAUSE.get(where, "") if kind == "greater_than_equal" else ""
    return f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {given!r}{reason}."


LEAST_BECAUSE = {"intake.timeout_seconds": ": the forwarder's calls to S3 and SQS may take 28 s"}
CHOSEN = frozenset({"env", "target"})
"""Of the command line alone: no environment may hold them."""
BUCKET = "a bucket's name: 3 to 63 small letters, digits, dots and dashes"
EXAMPLES = {
    "access_logs": BUCKET,
    "account": "an account id, such as '123456789012'",
    "alarm_emails": "an e-mail address",
    "ami_id": "an image id, such as 'ami-0123456789abcdef0'",
    "availability_zones": "a zone, such as 'us-west-2a'",
    "base_model": "a model's name in the public hub, such as 'openai-reasoning-gpt-oss-20b'",
    "bootstrap_qualifier": "a bootstrap's qualifier: 1 to 10 small letters and digits",
    "chart_repository": "a chart repository, such as 'https://charts.example.com'",
    "base_image": "an image, such as 'registry/python:3.12-slim'",
    "cidr": "an IPv4 range of /16 to /24, such as '10.64.0.0/20'",
    "cluster_name": "a cluster's name: 1 to 100 letters, digits, _ and -",
    "cluster_security_group_id": "a security group id, such as 'sg-0123456789abcdef0'",
    "cpu": "a Kubernetes CPU quantity, such as '500m'",
    "env": "an environment's name: 1 to 8 small letters and digits, a letter first",
    "environment": "an environment's name: 1 to 21 of a-z, 0-9 and _, a letter first",
    "image_registry": "a registry, such as 'registry.example.com/mirror'",
    "image_uri": "an image with its tag or digest, such as 'registry/name@sha256:…'",
    "instance_types": "an arm64 instance type, such as 'm7g.large'",
    "ledger_table": "a table's name: 3 to 255 letters, digits, _, . and -",
    "log_shipper_image": "an image with its tag or digest, such as 'registry/name@sha256:…'",
    "memory": "a Kubernetes memory quantity, such as '1Gi'",
    "namespace": "a Kubernetes namespace, such as 'mtrl-dev'",
    "outputs": BUCKET,
    "permissions_boundary": "a managed policy's name, not its ARN",
    "prefix": "a prefix: 1 to 10 small letters and digits, a letter first",
    "private_subnet_ids": "a subnet id, such as 'subnet-0123456789abcdef0'",
    "prompts": BUCKET,
    "region": "a Region, such as 'us-west-2'",
    "rollout_logs": BUCKET,
    "runbooks_url": "an https:// address without a slash at its end, such as 'https://git.example.com/mtrl-kit'",
    "service_account": "a Kubernetes service account, such as 'keda-operator'",
    "transcripts": BUCKET,
    "vpc_id": "a VPC id, such as 'vpc-0123456789abcdef0'",
}


def _form(location: Sequence[Any], pattern: str) -> str:
    name = next(str(part) for part in reversed(location) if isinstance(part, str))
    if name.endswith(("_arn", "_arns")):
        return "an ARN, such as 'arn:aws:iam::123456789012:role/name'"
    return EXAMPLES.get(name, pattern)


def _where(location: Sequence[Any]) -> str:
    """The place as the user wrote it: `targets.fargate.cpu` for the chosen target's `cpu`."""
    parts = [str(part) for part in location]
    if parts[:1] == ["target"]:
        parts[0] = "targets"
    return ".".join(parts) or "settings"


def _keys(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """The keys that are accepted at a place in the tree."""
    candidates = [model]
    for part in location:
        tagged = [each for each in candidates if _tag(each) == part]
        candidates = tagged or [
            inner
            for each in candidates
            if part in each.model_fields
            for inner in _models(each.model_fields[part].annotation)
        ]
    names = [name for each in candidates for name in each.model_fields if name != "kind"]
    return names if location else [*(name for name in names if name not in CHOSEN), "targets"]


def _tag(model: type[BaseModel]) -> object:
    field = model.model_fields.get("kind")
    return field.default if field else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for argument in get_args(annotation) for model in _models(argument)]
    return []

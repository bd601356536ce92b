"""The rollout request, in every spelling that the service and its SDK use.

Sources: the service documentation (camelCase), the public SDK's models (snake_case, `instance`), and
Lambda events that wrap the request in a JSON string `body`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.contract.errors import RequestError
from adapters.contract.strict_json import parse, require_text

JOB_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z\-]*):sagemaker:(?P<region>[a-z0-9\-]+):(?P<account>[0-9]{12}):"
    r"job/(?P<category>[a-zA-Z0-9_\-]+)/(?P<name>[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62})"
)
MAX_JOB_ARN = 256
MAX_TRAJECTORY_ID = 256
MAX_TOKENS = 10_000_000
"""Far above any model's context, and still a number that JSON carries exactly."""
MAX_UNIX_SECONDS = 1e11
_MISSING = object()


@dataclass(frozen=True, slots=True)
class InferenceParams:
    """Sampling parameters for every turn of the rollout; None leaves the service's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """One rollout that the service asks for. `endpoint` and `region` are checked, never obeyed."""

    prompt: str
    job_arn: str
    rollout_id: str
    endpoint: str = ""
    region: str = ""
    inference: InferenceParams = InferenceParams()
    received_at: float | None = None
    """Unix seconds; stamped by the forwarder, or by the HTTP entrypoint."""

    @property
    def job_name(self) -> str:
        return self.job_arn.rsplit("/", 1)[-1]

    @classmethod
    def from_wire(cls, payload: object) -> "RolloutRequest":
        """Read a request body, or a Lambda event.

        Raises:
            RequestError: names the field that is missing or wrong.
        """
        body = _unwrap(payload)
        metadata = _object(_pick(body, "metadata"), "metadata")
        return cls(
            prompt=_prompt(body),
            job_arn=_job_arn(metadata),
            rollout_id=_rollout_id(metadata),
            endpoint=_text(metadata, "metadata", "endpoint", default=""),
            region=_text(metadata, "metadata", "region", default=""),
            inference=_inference(_pick(body, "inferenceParams", "inference_params")),
            received_at=_number(body, "received_at", low=0.0, high=MAX_UNIX_SECONDS),
        )


def _unwrap(payload: object) -> Mapping[str, Any]:
    body = _object(payload, "body")
    inner = body.get("body")
    if isinstance(inner, str) and "metadata" not in body:
        try:
            return _object(parse(inner, "body"), "body")
        except (ValueError, RecursionError) as error:
            raise RequestError("body", f"is not valid JSON: {error}") from None
    return body


def _object(value: object, field: str) -> Mapping[str, Any]:
    if value is _MISSING or value is None:
        raise RequestError(field, "is missing")
    if not isinstance(value, dict):
        raise RequestError(field, f"must be a JSON object, not {type(value).__name__}")
    return value


def _pick(source: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if source.get(name) is not None:
            return source[name]
    return _MISSING


def _text(source: Mapping[str, Any], where: str, *names: str, default: str | None = None) -> str:
    value = _pick(source, *names)
    field = f"{where}.{names[0]}"
    if value is _MISSING:
        if default is None:
            raise RequestError(field, f"is missing (accepted: {', '.join(names)})")
        return default
    if not isinstance(value, str):
        raise RequestError(field, f"must be a string, not {type(value).__name__}")
    return value


def _prompt(body: Mapping[str, Any]) -> str:
    value = _pick(body, "prompt")
    if value is _MISSING and isinstance(body.get("instance"), dict):
        value = _pick(body["instance"], "prompt")
    if value is _MISSING:
        raise RequestError("prompt", "is missing (accepted: prompt, instance.prompt)")
    if not isinstance(value, str):
        raise RequestError("prompt", f"must be a string, not {type(value).__name__}")
    if not value.strip():
        raise RequestError("prompt", "is empty")
    require_text(value, "prompt")
    return value


def _job_arn(metadata: Mapping[str, Any]) -> str:
    arn = _text(metadata, "metadata", "jobArn", "job_arn")
    if len(arn) > MAX_JOB_ARN or not JOB_ARN.fullmatch(arn):
        raise RequestError("metadata.jobArn", "is not a SageMaker job ARN (arn:aws:sagemaker:…:job/…/…)")
    return arn


def _rollout_id(metadata: Mapping[str, Any]) -> str:
    rollout = _text(metadata, "metadata", "rolloutId", "trajectoryId", "trajectory_id", "rollout_id")
    # It becomes a header value: printable ASCII only, so that it can neither split nor smuggle headers.
    if not 1 <= len(rollout) <= MAX_TRAJECTORY_ID or not re.fullmatch(r"[!-~]+", rollout):
        raise RequestError("metadata.rolloutId", "must be 1 to 256 printable ASCII characters without spaces")
    return rollout


def _inference(value: object) -> InferenceParams:
    if value is _MISSING:
        return InferenceParams()
    source = _object(value, "inferenceParams")
    max_tokens = _number(source, "maxTokens", "max_tokens", low=1, high=MAX_TOKENS, where="inferenceParams.")
    if max_tokens is not None and max_tokens != int(max_tokens):
        raise RequestError("inferenceParams.maxTokens", "must be a whole number")
    return InferenceParams(
        temperature=_number(source, "temperature", low=0.0, high=2.0, where="inferenceParams."),
        top_p=_number(source, "topP", "top_p", low=0.0, high=1.0, where="inferenceParams."),
        max_tokens=None if max_tokens is None else int(max_tokens),
    )


def _number(source: Mapping[str, Any], *names: str, low: float, high: float, where: str = "") -> float | None:
    value = _pick(source, *names)
    if value is _MISSING:
        return None
    field = f"{where}{names[0]}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(field, f"must be a number, not {type(value).__name__}")
    if not low <= value <= high:  # false for NaN, too
        raise RequestError(field, f"must be from {low:g} to {high:g}")
    return value

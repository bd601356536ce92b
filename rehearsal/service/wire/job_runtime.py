"""The Job Runtime on the wire: Sample, SampleWithResponseStream, CompleteRollout, UpdateReward, and /v1.

REST-JSON as in botocore's `sagemakerjobruntime` model. The public SDK sends JobArn in the body of the last
two instead of in the header: either spelling is taken.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from adapters.contract.request import JOB_ARN
from rehearsal.policies.base import PolicyError, Sampled
from rehearsal.service.faults import FAULT_HEADER, UNCERTAIN_KINDS, FaultError, Faults
from rehearsal.service.state.trajectories import Trajectories, TrajectoryError
from rehearsal.service.wire.auth import refusal
from rehearsal.service.wire.chat_request import parse_chat_request
from rehearsal.service.wire.stream import stream_completion, usage

STATUS = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServiceError": 500,
}

# How a model server's own refusal reaches the caller. All else is an InternalServiceError.
_POLICY_CODES = {400: "ValidationException", 429: "ThrottlingException"}
_LOG = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class JobRuntimeWire:
    """Routes of the Job Runtime over the trajectories."""

    def __init__(self, trajectories: Trajectories, faults: Faults, region: str) -> None:
        self._trajectories = trajectories
        self._faults = faults
        self._region = region

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sample", self._guard("sample", self._sample)),
            web.post("/sample-with-response-stream", self._guard("sample", self._sample_stream)),
            web.post("/v1/chat/completions", self._guard("sample", self._chat)),
            web.post("/complete-rollout", self._guard("complete", self._complete)),
            web.post("/update-reward", self._guard("reward", self._reward)),
        ]

    def _guard(self, operation: str, handler: Handler) -> Handler:
        """Authentication, faults and error mapping around a handler."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            problem = refusal(request.headers.get("Authorization"), self._region)
            if problem is not None:
                return _error("AccessDeniedException", problem)
            try:
                fault = self._faults.draw(operation, request.headers.get(FAULT_HEADER))
                return await self._faulty(operation, fault, request, handler)
            except TrajectoryError as error:
                return _error(error.code, error.message)
            except FaultError as error:
                return _error("ValidationException", f"{FAULT_HEADER}: {error}")
            except PolicyError as error:
                return _error(_POLICY_CODES.get(error.status, "InternalServiceError"), str(error))
            except (web.HTTPException, web.RequestPayloadError) as error:  # too large, or badly encoded
                return _error("ValidationException", f"Body: cannot be read: {error}")
            except ConnectionError:
                raise  # the caller went away
            except Exception:  # noqa: BLE001 - a client is to read an error, not HTML
                _LOG.exception("a defect of the stand-in")
                return _error("InternalServiceError", "A defect of the stand-in; its log says more")

        return guarded

    async def _faulty(
        self, operation: str, fault: str | None, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if fault is None:
            return await handler(request)
        if fault == "lost":
            # A refusal is raised, and answered: it changed nothing, so there is nothing to lose. A stream
            # must not begin, or its first events would get through.
            await (self._draw(request) if operation == "sample" else handler(request))
            await self._note(operation, fault, request)
            return _cut(request)
        await self._note(operation, fault, request)
        if fault == "slow":
            await asyncio.sleep(self._faults.slow_seconds)
            return await handler(request)
        await request.read()
        if fault == "429":
            response = _error("ThrottlingException", "Rate exceeded (injected)")
            response.headers["Retry-After"] = f"{self._faults.retry_after:g}"
            return response
        if fault == "5xx":
            return _error("InternalServiceError", "Internal failure (injected)")
        if fault == "expire":
            return _error(
                "AccessDeniedException", "The security token included in the request is expired (injected)"
            )
        return _cut(request)

    async def _note(self, operation: str, fault: str, request: web.Request) -> None:
        arn = request.headers.get(JOB_ARN_HEADER, "")
        if not arn and operation != "sample":
            with suppress(TrajectoryError):
                arn = str((await _members(request)).get("JobArn", ""))
        self._trajectories.count(arn, f"fault_{operation}_{fault}")
        if operation == "sample" and fault in UNCERTAIN_KINDS:
            self._trajectories.count(arn, "uncertain_injected")

    async def _sample(self, request: web.Request) -> web.StreamResponse:
        turn, model = await self._draw(request)
        return _json(chat_completion(turn, model))

    async def _sample_stream(self, request: web.Request) -> web.StreamResponse:
        options = parse_chat_request(await request.read()).get("stream_options") or {}
        turn, model = await self._draw(request)
        return await stream_completion(request, turn, model, with_usage=options.get("include_usage") is True)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        wants_stream = parse_chat_request(await request.read()).get("stream") is True
        return await (self._sample_stream(request) if wants_stream else self._sample(request))

    async def _draw(self, http: web.Request) -> tuple[Sampled, str]:
        arn, rollout_id = _job_arn(http.headers.get(JOB_ARN_HEADER)), http.headers.get(TRAJECTORY_HEADER, "")
        if not 1 <= len(rollout_id) <= 256:
            raise TrajectoryError(
                "ValidationException", f"{TRAJECTORY_HEADER}: must have 1 to 256 characters"
            )
        request = parse_chat_request(await http.read())
        trajectory = self._trajectories.begin_sample(arn, rollout_id, request)
        seed = hash_seed(trajectory.seed, len(trajectory.turns))
        turn = await trajectory.policy.sample(request, seed)
        self._trajectories.commit_sample(trajectory, request, turn)
        return turn, str(request.get("model") or "default")

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        body = await _members(http)
        status = body.get("Status", "ready")
        if status not in ("ready", "failed"):
            raise TrajectoryError("ValidationException", "Status: must be ready or failed")
        arn, rollout_id = _ids(http, body)
        self._trajectories.seal(arn, rollout_id, status, _token(body))
        return _json({})

    async def _reward(self, http: web.Request) -> web.StreamResponse:
        body = await _members(http)
        rewards = body.get("Rewards")
        if not isinstance(rewards, list) or not rewards:
            raise TrajectoryError("ValidationException", "Rewards: must be a non-empty array of numbers")
        for value in rewards:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise TrajectoryError("ValidationException", "Rewards: every member must be a finite number")
        arn, rollout_id = _ids(http, body)
        self._trajectories.reward(arn, rollout_id, tuple(float(value) for value in rewards), _token(body))
        return _json({})


def hash_seed(*parts: int) -> int:
    """One 63-bit seed from several integers, the same in every process."""
    value = 0x9E3779B97F4A7C15
    for part in parts:
        value = ((value ^ (part & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
    return value >> 1


def chat_completion(turn: Sampled, model: str) -> dict[str, Any]:
    """The OpenAI chat-completion object of a turn."""
    return {
        "id": f"chatcmpl-{id(turn):x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": turn.message, "finish_reason": turn.finish_reason}],
        "usage": usage(turn),
    }


async def _members(http: web.Request) -> Mapping[str, Any]:
    try:
        body = orjson.loads(await http.read())
    except ValueError as error:
        raise TrajectoryError("ValidationException", f"Body: is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise TrajectoryError("ValidationException", "Body: must be a JSON object")
    return body


def _ids(http: web.Request, body: Mapping[str, Any]) -> tuple[str, str]:
    rollout_id = body.get("TrajectoryId")
    if not isinstance(rollout_id, str) or not 1 <= len(rollout_id) <= 256:
        raise TrajectoryError("ValidationException", "TrajectoryId: must be a string of 1 to 256 characters")
    return _job_arn(http.headers.get(JOB_ARN_HEADER) or body.get("JobArn")), rollout_id


def _job_arn(value: object) -> str:
    if not isinstance(value, str) or not JOB_ARN.fullmatch(value):
        raise TrajectoryError("ValidationException", f"{JOB_ARN_HEADER}: is no job ARN")
    return value


def _token(body: Mapping[str, Any]) -> str:
    token = body.get("ClientToken", "")
    if not isinstance(token, str):
        raise TrajectoryError("ValidationException", "ClientToken: must be a string")
    return token


def _cut(request: web.Request) -> web.Response:
    """Cut the connection the hard way: the caller sees a reset, and nothing of the response."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _error(code: str, message: str) -> web.Response:
    response = _json({"Message": message, "message": message}, STATUS[code])
    response.headers["x-amzn-ErrorType"] = code
    return response


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")

"""The Job Runtime client: Sample, CompleteRollout, UpdateReward, and what each failure means.

CompleteRollout and UpdateReward carry a ClientToken and may be repeated. Sample has no idempotency token:
a connection that was refused and a 429 did nothing and are retried, but a reset, a timeout or a 5xx after
the request was sent leaves an *uncertain* turn, which the service may have recorded.

What is said of a failure goes to the log. The answer to a Sample may repeat the prompt, or be the policy's
own words: nothing of it is said but its status and the error's type.
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from adapters.contract import (
    JOB_ARN_HEADER,
    TRAJECTORY_HEADER,
    PolicyUnavailable,
    RolloutRequest,
    SampleRejected,
    TrajectoryGone,
)
from adapters.runtime.auth import Authorizer

BACKOFF_BASE_SECONDS = 0.2
BACKOFF_CAP_SECONDS = 20.0
LAST_ATTEMPT_SECONDS = 0.1
"""An attempt with less time than this is not worth sending."""
# Shorter than any server's: a request must not meet a connection that is just being closed for idleness,
# since that reset would count as an uncertain turn.
KEEPALIVE_SECONDS = 15.0
WORTH_WAITING = frozenset({401, 402, 403, 429})
"""An operator, or time, puts these right: credentials that rotate, a quota, a permission, throttling."""
GONE_WORDS = ("not in valid status", "Cannot transition trajectory")
"""How the service words a call to a trajectory whose state forbids it, whatever the status code."""
ERROR_TYPE = re.compile(r"(?:[\w.]+#)?([A-Z][A-Za-z]{2,63})(?::.*)?")
"""A type alone, or as AWS's protocols write it: `namespace#Type`, `Type:http://…`."""
MESSAGE_CHARS = 200
"""Of the message to a report that is refused."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that arrived whole."""

    status: int
    body: bytes
    retry_after: float | None
    error_type: str = ""
    """As its header names it."""


class Unsent(Exception):
    """The request cannot have reached the service."""


class Unknown(Exception):
    """The request was sent, and no answer came: it may have taken effect."""


@dataclass(slots=True)
class Report:
    """How CompleteRollout or UpdateReward ended."""

    done: bool
    """Acknowledged, now or by an earlier attempt of ours."""
    detail: str = ""


Before = Callable[[], Awaitable[None]]


async def _at_any_time() -> None:
    """Nothing to wait for before an attempt."""


class JobRuntime:
    """One client for all rollouts of the process. `session` is the one connection pool."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        authorizer: Authorizer,
        *,
        timeout: float,
        uncertain_retries: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self._authorizer = authorizer
        self._timeout = timeout
        self._uncertain_retries = uncertain_retries
        self._sleep = sleep
        self._jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret

    @property
    def request_timeout(self) -> float:
        """Seconds that one request may take at most."""
        return self._timeout

    async def sample(
        self,
        request: RolloutRequest,
        body: bytes,
        *,
        deadline: float,
        first: bool,
        on_uncertain: Callable[[], None],
        before_each: Before = _at_any_time,
    ) -> dict[str, Any]:
        """Sample one turn and return the chat-completion object.

        Args:
            body: the OpenAI chat-completion request, serialized.
            deadline: `time.monotonic()` seconds after which no attempt is started.
            first: no Sample of this rollout has succeeded yet. A rollout without any Sample fails the whole
                job, so the first is retried until the deadline, uncertain or not.
            on_uncertain: called for each attempt whose outcome stays unknown.
            before_each: awaited before each attempt; raises if the right to make it is gone.

        Raises:
            PolicyUnavailable, SampleRejected, TrajectoryGone.
        """
        headers = {TRAJECTORY_HEADER: request.rollout_id}
        uncertain = 0
        attempt = 0
        renewed = False
        while True:
            retry_after: float | None = None
            await before_each()
            try:
                reply = await self._post("/sample", request, body, headers, deadline)
            except asyncio.CancelledError:  # the deadline, or a drain, cut it in flight
                on_uncertain()
                raise
            except Unsent as error:
                problem = str(error)
            except Unknown as error:
                problem, uncertain = str(error), uncertain + 1
                on_uncertain()
            else:
                completion = _completion(reply)
                if completion is not None:
                    return completion
                problem, retry_after = _kind(reply), reply.retry_after
                if reply.status in (401, 403):
                    self._authorizer.renew()
                    if not renewed:
                        renewed = True
                        continue
                _raise_if_final(reply, problem, first)
                if reply.status >= 500 or reply.status < 300:
                    uncertain += 1
                    on_uncertain()
            if uncertain > self._uncertain_retries and not first:
                raise PolicyUnavailable(f"a turn stayed uncertain after {uncertain} attempts: {problem}")
            await self._pause(attempt, retry_after, deadline, problem)
            attempt += 1

    async def complete(
        self,
        request: RolloutRequest,
        status: str,
        *,
        again: bool,
        deadline: float,
        before_each: Before = _at_any_time,
    ) -> Report:
        """Seal the trajectory (`status` is ready or failed). See `_report` for `again`."""
        payload = {"TrajectoryId": request.rollout_id, "Status": status}
        return await self._report("/complete-rollout", request, payload, again, deadline, before_each)

    async def update_reward(
        self,
        request: RolloutRequest,
        rewards: tuple[float, ...],
        *,
        again: bool,
        deadline: float,
        before_each: Before = _at_any_time,
    ) -> Report:
        """Report one reward for the episode, or one a turn."""
        payload = {"TrajectoryId": request.rollout_id, "Rewards": list(rewards)}
        return await self._report("/update-reward", request, payload, again, deadline, before_each)

    async def _report(
        self,
        path: str,
        request: RolloutRequest,
        payload: dict[str, Any],
        again: bool,
        deadline: float,
        before_each: Before,
    ) -> Report:
        """Post until acknowledged. `again`: an earlier process may have sent the identical report.

        A 409 is our own report coming back only if we may have sent it before; otherwise somebody else
        (the service's timeout, say) closed the trajectory.
        """
        token = client_token(request, path)
        body = orjson.dumps({**payload, "JobArn": request.job_arn, "ClientToken": token})
        attempt = 0
        renewed = False
        while True:
            retry_after: float | None = None
            await before_each()
            try:
                reply = await self._post(path, request, body, {}, deadline)
            except Unsent as error:
                problem = str(error)
            except Unknown as error:
                problem, again = str(error), True
            else:
                if reply.status == 200:
                    return Report(done=True)
                problem, retry_after = f"{_kind(reply)} {_message(reply)}".rstrip(), reply.retry_after
                if _is_gone(reply):
                    return Report(done=again and reply.status != 404, detail=problem)
                if reply.status in (401, 403):
                    self._authorizer.renew()
                    if not renewed:
                        renewed = True
                        continue
                if reply.status < 500 and reply.status not in WORTH_WAITING:
                    return Report(done=False, detail=problem)
                again = again or reply.status >= 500
            await self._pause(attempt, retry_after, deadline, problem)
            attempt += 1

    async def _pause(self, attempt: int, retry_after: float | None, deadline: float, problem: str) -> None:
        """Full jitter; a Retry-After is a floor. Never sleeps past the deadline."""
        left = deadline - time.monotonic() - (retry_after or 0.0) - LAST_ATTEMPT_SECONDS
        if left <= 0:
            raise PolicyUnavailable(f"out of time after {attempt + 1} attempts: {problem}")
        ceiling = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt, 10), left)
        await self._sleep((retry_after or 0.0) + self._jitter.uniform(0, ceiling))

    async def _sign(self, url: str, headers: dict[str, str], body: bytes, seconds: float) -> dict[str, str]:
        """Credentials come from a provider that may fail, or hang, for a while: worth a retry."""
        try:
            at_hand = self._authorizer.at_once("POST", url, headers, body)
            if at_hand is not None:  # as for all but the first of some minutes
                return at_hand
            async with asyncio.timeout(seconds):
                return await self._authorizer.headers("POST", url, headers, body)
        except Exception as error:
            raise Unsent(f"no credentials to sign with: {type(error).__name__} {error}".strip()) from error

    async def _post(
        self, path: str, request: RolloutRequest, body: bytes, extra: dict[str, str], deadline: float
    ) -> Reply:
        seconds = min(self._timeout, deadline - time.monotonic())
        if seconds <= 0:
            raise PolicyUnavailable("out of time before the request was sent")
        url = self._endpoint + path
        headers = {"Content-Type": "application/json", JOB_ARN_HEADER: request.job_arn, **extra}
        headers |= await self._sign(url, headers, body, seconds)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(10.0, seconds))
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                content = await answer.read()
                return Reply(
                    answer.status,
                    content,
                    _retry_after(answer.headers.get("Retry-After")),
                    answer.headers.get("x-amzn-ErrorType", ""),
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unsent(f"no connection to the Job Runtime: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # aiohttp quotes what it cannot parse; the errors of the network itself hold no answer.
            said = error if isinstance(error, OSError) else ""
            raise Unknown(f"no answer from the Job Runtime: {type(error).__name__} {said}".strip()) from error


def open_session(max_connections: int) -> aiohttp.ClientSession:
    """The connection pool for a `JobRuntime`; one TLS context, no cookies, no proxies from a request."""
    connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def client_token(request: RolloutRequest, operation: str) -> str:
    """The same for every attempt of one operation on one rollout, in every process."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{request.job_arn}/{request.rollout_id}{operation}"))


def _completion(reply: Reply) -> dict[str, Any] | None:
    """The chat completion, or None if this is none: a 200 without one is a turn with unknown content."""
    if reply.status != 200:
        return None
    try:
        raw = orjson.loads(reply.body)
        message = raw["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return dict(raw) if isinstance(message, dict) else None


def _is_gone(reply: Reply) -> bool:
    return reply.status in (404, 409) or (
        reply.status == 400 and any(words.encode() in reply.body for words in GONE_WORDS)
    )


def _raise_if_final(reply: Reply, problem: str, first: bool) -> None:
    """Raise for an answer that no retry can change. The first Sample also outwaits 401, 402 and 403."""
    if _is_gone(reply):
        raise TrajectoryGone(problem)
    if reply.status in (401, 402, 403):
        if not first:
            raise PolicyUnavailable(problem)
    elif 300 <= reply.status < 500 and reply.status != 429:
        raise SampleRejected(problem)


def _kind(reply: Reply) -> str:
    """Status and type of an answer, and nothing that somebody else may have put into it."""
    if reply.status == 200:
        return "HTTP 200, no valid completion"
    fields = _fields(reply)
    named = (reply.error_type, fields.get("__type"), fields.get("code"))
    types = (ERROR_TYPE.fullmatch(name) for name in named if isinstance(name, str))
    kind = next((found[1] for found in types if found), "")
    return f"HTTP {reply.status} {kind}".rstrip()


def _message(reply: Reply) -> str:
    """The service's own words, for an answer to a report: in that there is no prompt to repeat."""
    fields = _fields(reply)
    message = fields.get("message") or fields.get("Message")
    return message[:MESSAGE_CHARS] if isinstance(message, str) else ""


def _fields(reply: Reply) -> dict[str, Any]:
    try:
        read = orjson.loads(reply.body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _retry_after(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:  # an HTTP date: the backoff alone must do
        return None

"""How the stand-in reaches the agent under training, as the service would: one call a rollout.

| AgentConfig              | in the service         | here                                              |
| ------------------------ | ---------------------- | ------------------------------------------------- |
| BedrockAgentCoreConfig   | InvokeAgentRuntime     | `HttpAgent`: POST /invocations to a URL           |
| CustomAgentLambdaConfig  | lambda:InvokeFunction  | `ForwarderAgent`: the handler file in a process   |
|                          |                        | of its own; or `LambdaAgent`: the deployed        |
|                          |                        | function, behind an emulator's or AWS's API       |
"""

import asyncio
import json
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from rehearsal.service.forwarder import ForwarderPool, HandlerFailed, WorkerGone
from rehearsal.service.lambda_api import LambdaTarget, configured_endpoint

SESSION_HEADER = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id"
MAX_MESSAGE = 500
LAMBDA_THREADS = 96
"""As many calls as the service has rollouts in flight (rollout_max_concurrency)."""
LOCAL_LAMBDA_THREADS = 8
"""An emulator starts a process for each call at once: on two cores, 64 first calls take 3 s, and 16 s when 32
are made at a time."""
_RETRYABLE_STATUS = frozenset({429, 503})
_RETRYABLE_LAMBDA = frozenset({"TooManyRequestsException", "ServiceException", "EC2ThrottledException"})
_MISCONFIGURED = (NoCredentialsError, PartialCredentialsError, NoRegionError, ProfileNotFound)
_INTERNAL = "InternalServerError"


class AgentError(Exception):
    """The agent did not take the rollout. `retryable`: may the service send the request again?

    A timeout is not retryable over HTTP, where the rollout's own time is then spent, but it is for a
    forwarder, which hands over and returns at once.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        text = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
        super().__init__(text)
        self.retryable = retryable


class Agent(Protocol):
    """One way to hand over a rollout request. Calls may run concurrently."""

    async def invoke(self, payload: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        """Send one rollout request; the answer object.

        Args:
            payload: the rollout request, a JSON object (`RolloutRequest.from_wire` reads it).
            timeout: seconds for the whole call.

        Raises:
            AgentError: no answer, or one that says that the rollout was not taken.
        """

    async def close(self) -> None: ...


class HttpAgent:
    """An AgentCore container: `POST {url}/invocations`, a session id a call."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/invocations"
        self._session: aiohttp.ClientSession | None = None

    async def invoke(self, payload: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        if self._session is None:
            # No limit of its own: the caller bounds the rollouts in flight.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        try:
            async with self._session.post(
                self._url,
                data=json.dumps(payload).encode(),
                headers={"Content-Type": "application/json", SESSION_HEADER: str(uuid.uuid4())},
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except TimeoutError:
            raise AgentError(f"{self._url}: no answer within {timeout:g} s.", retryable=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise AgentError(f"{self._url}: {_said(error)}. Is the agent running?", retryable=True) from None
        answer = _json_object(body)
        if not 200 <= response.status < 300:
            retry = response.status in _RETRYABLE_STATUS or "Retry-After" in response.headers
            raise _http_error(self._url, response.status, body, answer, retry)
        if answer is None:
            raise AgentError(f"{self._url}: {_not_an_object(body)}", retryable=False)
        return _accepted(answer)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class ForwarderAgent:
    """A Lambda handler file (`handler` or `lambda_handler`), run in processes of its own.

    As in Lambda, a process serves one call at a time, `workers` run at once, further calls wait (inside
    their timeout), and a call that times out costs its process.
    """

    def __init__(self, handler_path: Path, *, workers: int = 4) -> None:
        self._path = handler_path
        self._pool = ForwarderPool(handler_path, workers)

    async def invoke(self, payload: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        try:
            answer = await asyncio.wait_for(self._pool.call(payload, timeout), timeout)
        except TimeoutError:
            raise AgentError(f"{self._path}: no answer within {timeout:g} s.", retryable=True) from None
        except HandlerFailed as error:
            raise AgentError(f"{self._path}: {error}", retryable=error.retryable) from None
        except WorkerGone as error:
            raise AgentError(f"{self._path}: {error}", retryable=True) from None
        if not isinstance(answer, dict):
            text = json.dumps(answer).encode()
            raise AgentError(f"{self._path}: {_not_an_object(text)}", retryable=False)
        return _accepted(answer)

    async def close(self) -> None:
        await self._pool.close()


class LambdaAgent:
    """A deployed function, called through boto3; calls beyond its threads wait (inside their timeout).

    Args:
        lambda_arn: the forwarder of the job.
        target: another function that plays it, and where the Lambda API is.
    """

    def __init__(self, lambda_arn: str, target: LambdaTarget | None = None) -> None:
        self._arn = lambda_arn
        self._target = target or LambdaTarget()
        self._name = self._target.function or lambda_arn
        self._threads = LOCAL_LAMBDA_THREADS if self._target.local else LAMBDA_THREADS
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="lambda-agent")
        self._lock = threading.Lock()
        self._clients: dict[int, Any] = {}

    async def invoke(self, payload: dict[str, Any], *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._executor, self._invoke, payload, timeout)
        try:
            response, body = await asyncio.wait_for(call, timeout)
        except TimeoutError:
            raise AgentError(f"{self._name}: no answer within {timeout:g} s.", retryable=True) from None
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise AgentError(f"{self._name}: {error}", retryable=code in _RETRYABLE_LAMBDA) from None
        except _MISCONFIGURED as error:
            raise AgentError(f"{self._name}: {error}", retryable=False) from None
        except BotoCoreError as error:
            raise AgentError(f"{self._name}: {error}. Is Lambda reachable?", retryable=True) from None
        answer = _json_object(body)
        if response.get("FunctionError"):
            said = (answer or {}).get("errorMessage") or body[:200].decode(errors="replace")
            kind = (answer or {}).get("errorType", response["FunctionError"])
            raise AgentError(f"{self._name}: the function raised {kind}: {said}", retryable=True)
        if answer is None:
            raise AgentError(f"{self._name}: {_not_an_object(body)}", retryable=False)
        return _accepted(answer)

    def _invoke(self, payload: dict[str, Any], timeout: float) -> tuple[dict[str, Any], bytes]:
        response = self._client(timeout).invoke(
            FunctionName=self._name,
            InvocationType="RequestResponse",
            Payload=json.dumps(payload).encode(),
        )
        return response, response["Payload"].read()

    def _client(self, timeout: float) -> Any:
        """A client whose read timeout is the next power of two: few clients, and no thread stays long."""
        seconds = 1 << max(3, int(timeout).bit_length())
        with self._lock:
            if seconds not in self._clients:
                config = Config(
                    read_timeout=seconds,
                    connect_timeout=min(seconds, 10),
                    max_pool_connections=self._threads,
                    # Retries are the caller's: a second Invoke would be a second rollout.
                    retries={"total_max_attempts": 1},
                )
                self._clients[seconds] = self._target.client(self._arn, config)
            return self._clients[seconds]

    async def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()
        self._clients.clear()


class Agents:
    """Which agent a job's AgentConfig means on this machine; each is made once and shared.

    Args:
        agents: runtime ARN to URL; the ARN `*` stands for every other one.
        forwarder: the handler file that plays the Lambda function of every CustomAgentLambdaConfig.
        function: the deployed function that plays it, where there is no handler file.
    """

    def __init__(
        self, *, agents: Mapping[str, str], forwarder: Path | None, function: LambdaTarget | None = None
    ) -> None:
        self._urls = dict(agents)
        self._forwarder = forwarder
        self._function = function
        self._made: dict[tuple[str, str], Agent] = {}

    def resolve(self, agent_config: dict[str, Any]) -> Agent:
        """The agent of a job.

        Raises:
            AgentError: nothing here plays that agent; says which flag to give.
        """
        core = agent_config.get("BedrockAgentCoreConfig")
        custom = agent_config.get("CustomAgentLambdaConfig")
        if core is not None:
            return self._http(str(core.get("AgentRuntimeArn", "")))
        if custom is not None:
            return self._custom(str(custom.get("LambdaArn", "")))
        known = "BedrockAgentCoreConfig or CustomAgentLambdaConfig"
        raise AgentError(f"AgentConfig must hold {known}, not {sorted(agent_config)}.", retryable=False)

    async def close(self) -> None:
        """Close every agent that was handed out."""
        made, self._made = list(self._made.values()), {}
        await asyncio.gather(*(agent.close() for agent in made))

    def _http(self, arn: str) -> Agent:
        url = self._urls.get(arn) or self._urls.get("*")
        if not url:
            hint = f"Give --agent URL, or --agent {arn or 'ARN'}=URL."
            raise AgentError(f"No URL is known for the agent runtime {arn!r}. {hint}", retryable=False)
        key = ("http", url)
        if key not in self._made:
            self._made[key] = HttpAgent(url)
        return self._made[key]

    def _custom(self, arn: str) -> Agent:
        key = ("forwarder", "") if self._forwarder else ("lambda", arn)
        if key not in self._made:
            self._made[key] = self._make_custom(arn)
        return self._made[key]

    def _make_custom(self, arn: str) -> Agent:
        if self._forwarder is not None:
            return ForwarderAgent(self._forwarder)
        if self._function is not None or configured_endpoint():
            return LambdaAgent(arn, self._function)
        # Not the real Lambda of whoever happens to be logged in: that is asked for by name.
        hint = "Give --forwarder PATH to its handler file, or --agent lambda, or set AWS_ENDPOINT_URL_LAMBDA."
        raise AgentError(f"Nothing here plays the forwarder {arn!r}. {hint}", retryable=False)


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, unless it is the documented error object."""
    kind = answer.get("errorType")
    if kind:
        raise AgentError(f"{kind}: {answer.get('errorMessage', '')}", retryable=kind == _INTERNAL)
    return answer


def _http_error(url: str, status: int, body: bytes, answer: dict[str, Any] | None, retry: bool) -> AgentError:
    said = (answer or {}).get("errorMessage") or (answer or {}).get("message")
    kind = (answer or {}).get("errorType")
    text = str(said) if said else body[:200].decode(errors="replace")
    prefix = f"{kind}: " if kind else ""
    return AgentError(f"{url} answered {status}: {prefix}{text}", retryable=retry or kind == _INTERNAL)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _not_an_object(body: bytes) -> str:
    return f"the answer is no JSON object: {body[:100].decode(errors='replace')!r}. Success is {{}}."


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__

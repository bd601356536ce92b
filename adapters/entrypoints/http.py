"""The HTTP entrypoint: the AgentCore contract, and the SDK's rollout-server contract.

    POST /invocations   a rollout request -> its outcome, at the end of the episode
    GET  /ping          {"status": "Healthy" | "HealthyBusy", "time_of_last_update": <unix seconds>}
    POST /rollout       the same as /invocations
    GET  /health        {"status": "healthy"}

Start: python -m adapters.entrypoints.http (variables: adapters/contract/variables.py).
SIGTERM: no new rollouts, running ones finish or are sealed with what they have. A second one exits at once.
With MTRL_LEDGER_TABLE and MTRL_ROLLOUT_LOG_BUCKET those that can be resumed are handed over instead, after
their Sample in flight: the caller gets a 503, repeats its request, and another process goes on from there.
"""

import asyncio
import os
import sys
import time
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from adapters.contract import Outcome, RefusedError, RequestError, RolloutRequest
from adapters.entrypoints.process import Process, spare_the_collector, start
from adapters.entrypoints.sharing import shared
from adapters.entrypoints.stopping import drain, exit_in_any_case, stop_on_signals
from adapters.runtime.auth import CredentialsMissing
from adapters.runtime.ledger import LeaseLost, LedgerUnavailable
from adapters.runtime.log_store import LogOutOfReach
from adapters.runtime.plugins import PluginError
from adapters.runtime.reporting import NotAcknowledged
from adapters.runtime.rollout import Busy, HandedBack
from adapters.runtime.settings import HttpSettings, Settings, SettingsError

MAX_BODY_BYTES = 8 * 1024 * 1024
FLUSH_SECONDS = 2.0
"""After the drain, how long an answer that is being written may still take."""


class CannotListen(Exception):
    """The port is taken, or the host is none of this machine's; a sentence for the operator."""


class HttpEntrypoint:
    """Routes, bounded concurrency, and drain."""

    def __init__(self, process: Process, *, hands_over: bool = False) -> None:
        """`hands_over`: other processes share the ledger and the logs."""
        self._process = process
        self._hands_over = hands_over
        self._rollouts = process.rollouts
        self._settings = process.settings
        self._telemetry = process.telemetry
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._draining = False
        self._changed = int(time.time())

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/invocations", self.rollout),
                web.post("/rollout", self.rollout),
                web.get("/ping", self.ping),
                web.get("/health", self.health),
            ]
        )
        return app

    async def ping(self, _: web.Request) -> web.Response:
        status = "HealthyBusy" if self._tasks else "Healthy"
        return _json({"status": status, "time_of_last_update": self._changed})

    async def health(self, _: web.Request) -> web.Response:
        return _json({"status": "healthy"})

    async def rollout(self, http: web.Request) -> web.Response:
        received = time.time()
        try:
            request = await _read(http)
            self._rollouts.read_task(request)
        except RequestError as error:
            return _problem(error)
        key = f"{request.job_arn}/{request.rollout_id}"
        task = self._tasks.get(key)
        if task is None:
            refusal = self._refusal()
            if refusal is not None:
                return refusal
            task = self._start(key, request, received)
        # A caller that repeats its request while the episode runs waits for the same episode.
        done, _ = await asyncio.wait({task}, timeout=self._settings.sync_limit)
        if not done:
            self._rollouts.keep(request)  # this caller will not come back for it
            return _json({"status": "accepted", "rolloutId": request.rollout_id})
        return self._answer(task)

    def _refusal(self) -> web.Response | None:
        if self._draining:
            return _error(503, "InternalServerError", "this adapter is draining", retry_after=5)
        if len(self._tasks) >= self._settings.max_concurrency:
            text = f"all {self._settings.max_concurrency} places are taken (MTRL_MAX_CONCURRENCY)"
            return _error(429, "InternalServerError", text, retry_after=1)
        return None

    def _start(self, key: str, request: RolloutRequest, received: float) -> "asyncio.Task[Outcome]":
        self._changed = int(received)
        if request.received_at is None:
            request = replace(request, received_at=received)
        task = asyncio.create_task(self._rollouts.run(request))
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: str, task: "asyncio.Task[Outcome]") -> None:
        del self._tasks[key]
        self._changed = int(time.time())
        error = None if task.cancelled() else task.exception()
        if isinstance(error, HandedBack):
            self._telemetry.log("INFO", "handed_back", rollout_id=str(error))
        elif error is not None and not isinstance(error, RequestError):
            self._telemetry.log("ERROR", "rollout_broke", error=f"{type(error).__name__}: {error}"[:500])

    def _answer(self, task: "asyncio.Task[Outcome]") -> web.Response:
        try:
            return _json(task.result().to_wire())
        except RequestError as error:
            return _problem(error)
        except Busy:
            return _error(
                409, "InternalServerError", "another worker is at work on this rollout", retry_after=5
            )
        except NotAcknowledged as error:
            return _error(
                503, "InternalServerError", f"the outcome is not reported yet: {error}", retry_after=5
            )
        except HandedBack:
            return _error(503, "InternalServerError", "ask again: another process goes on", retry_after=1)
        except (LeaseLost, LedgerUnavailable, LogOutOfReach) as error:
            return _error(503, "InternalServerError", type(error).__name__, retry_after=5)
        except Exception as error:  # noqa: BLE001 - logged by _ended; the caller learns that it may retry
            return _error(500, "InternalServerError", type(error).__name__)

    async def drain(self) -> None:
        """No new rollouts from now on; see `stopping.drain`."""
        self._draining = True
        await drain(self._process, self._tasks, hand_over=self._hands_over)


async def _read(http: web.Request) -> RolloutRequest:
    try:
        body = await http.read()
    except (web.RequestPayloadError, ContentEncodingError) as error:
        raise RequestError("body", f"cannot be decoded: {error}") from None
    except web.HTTPRequestEntityTooLarge:
        raise RequestError("body", f"is larger than {MAX_BODY_BYTES} bytes") from None
    try:
        payload = orjson.loads(body)
    except ValueError as error:
        raise RequestError("body", f"is not valid JSON: {error}") from None
    return RolloutRequest.from_wire(payload)


def _problem(error: RequestError) -> web.Response:
    if isinstance(error, RefusedError):
        return _error(403, "AccessDenied", str(error), field=error.field)
    status = 413 if error.field == "body" and "larger" in error.problem else 400
    return _error(status, "ValidationError", str(error), field=error.field)


def _error(
    status: int, kind: str, message: str, *, field: str | None = None, retry_after: int | None = None
) -> web.Response:
    body: dict[str, Any] = {"errorType": kind, "errorMessage": message}
    if field is not None:
        body["field"] = field
    response = _json(body, status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def serve(process: Process, *, hands_over: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    entrypoint = HttpEntrypoint(process, hands_over=hands_over)
    stop = stop_on_signals(process)
    # The server's own idle limit is above any client's, so that it never resets a connection in use.
    runner = web.AppRunner(
        entrypoint.app(),
        access_log=None,
        keepalive_timeout=75.0,
        handle_signals=False,
        shutdown_timeout=FLUSH_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, process.settings.host, process.settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(
                f"Cannot listen: {error.strerror or error}. Choose another PORT or HOST."
            ) from None
        address = runner.addresses[0]
        process.telemetry.log(
            "INFO", "started", host=address[0], port=address[1], environment=process.environment.name
        )
        await stop.wait()
        exit_in_any_case(process.settings.drain + 2 * FLUSH_SECONDS)
        await entrypoint.drain()
    finally:
        await runner.cleanup()


async def _main() -> None:
    settings, http = Settings.from_environ(os.environ), HttpSettings.from_environ(os.environ)
    with shared(settings, http.ledger_table, http.rollout_log_bucket) as ours:
        async with start(os.environ, ours.ledger, ours.logs) as process:
            spare_the_collector()
            await serve(process, hands_over=ours.logs is not None)


def main() -> None:
    """The process: exit code 2 and plain sentences for what an operator can put right."""
    try:
        asyncio.run(_main())
    except (SettingsError, PluginError, CredentialsMissing, CannotListen) as error:
        sys.exit(_complain(str(error)))


def _complain(text: str) -> int:
    sys.stderr.write(f"adapter: {text}\n")
    return 2


if __name__ == "__main__":
    main()

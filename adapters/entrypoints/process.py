"""What every entrypoint starts with: settings, plug-ins, credentials, one connection pool."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.contract import Environment
from adapters.runtime.archive import Archive, FileArchive, S3Archive
from adapters.runtime.auth import Authorizer, BearerAuthorizer, SigV4Authorizer, default_credentials
from adapters.runtime.aws import aws_client
from adapters.runtime.gate import job_runtime_endpoint
from adapters.runtime.job_runtime import JobRuntime, open_session
from adapters.runtime.ledger import Ledger, MemoryLedger
from adapters.runtime.log_store import LogStore
from adapters.runtime.plugins import load_environment, load_loop
from adapters.runtime.rollout import Rollouts
from adapters.runtime.seal_keys import KeyRing, KeysError, load_keys
from adapters.runtime.sealing import OpeningEnvironment
from adapters.runtime.settings import Settings, SettingsError
from adapters.runtime.telemetry import Telemetry

CHARS_PER_TOKEN = 4
"""A usual ratio for English text and JSON; good enough to warn by."""


@dataclass(frozen=True, slots=True)
class Process:
    """The parts of a running adapter."""

    settings: Settings
    environment: Environment
    rollouts: Rollouts
    telemetry: Telemetry


@asynccontextmanager
async def start(
    environ: Mapping[str, str], ledger: Ledger | None = None, logs: LogStore | None = None
) -> AsyncIterator[Process]:
    """Assemble an adapter process; leaving the context closes its connections.

    Raises:
        SettingsError, PluginError, CredentialsMissing: what is wrong and what to do, for the operator.
    """
    settings = Settings.from_environ(environ)
    keys = await asyncio.to_thread(_seal_keys, settings)
    environment = OpeningEnvironment(load_environment(settings.environment, environ), keys)
    loop = load_loop(settings.loop)
    # By the name that alarms are made for, whatever the plug-in calls itself.
    telemetry = Telemetry(settings.metrics_namespace, settings.environment, settings.log_level)
    _check_context(settings, environment, telemetry)
    credentials = default_credentials()
    authorizer: Authorizer = (
        BearerAuthorizer(credentials, settings.region)
        if settings.auth == "bearer"
        else SigV4Authorizer(credentials, settings.region)
    )
    if settings.account is None:
        telemetry.log("WARNING", "account_unchecked", hint="set MTRL_ACCOUNT_ID to refuse foreign jobs")
    archive = _archive(settings)
    async with open_session(settings.max_concurrency) as session:
        runtime = JobRuntime(
            session,
            job_runtime_endpoint(settings),
            authorizer,
            timeout=settings.sample_timeout,
            uncertain_retries=settings.uncertain_retries,
        )
        rollouts = Rollouts(
            settings, environment, loop, runtime, ledger or MemoryLedger(), telemetry, archive, logs
        )
        yield Process(settings, environment, rollouts, telemetry)


def spare_the_collector() -> None:
    """Collect garbage less often, and never look at what was there at the start: that lives for ever.

    A rollout leaves hardly a cycle behind, but with the default thresholds hundreds of them in flight are
    walked through again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _seal_keys(settings: Settings) -> KeyRing:
    try:
        return load_keys(settings.seal_keys, settings.region) if settings.seal_keys else KeyRing()
    except KeysError as error:
        raise SettingsError([f"MTRL_SEAL_KEYS: {error}"]) from None


def _archive(settings: Settings) -> Archive | None:
    if settings.archive_bucket is not None:
        return S3Archive(aws_client("s3", settings.region), settings.archive_bucket)
    folder = settings.archive_dir
    try:
        return FileArchive(Path(folder)) if folder else None
    except OSError as error:
        raise SettingsError([f"MTRL_ARCHIVE_DIR={folder!r} cannot be used: {error.strerror}."]) from error


def _check_context(settings: Settings, environment: Environment, telemetry: Telemetry) -> None:
    """Warn if a rollout that uses all of its turns cannot fit the model's context."""
    if settings.context_tokens is None:
        return
    max_tokens = 4096  # the service's default; the request's own value is known only later
    per_turn = max_tokens + math.ceil(settings.tool_result_chars / CHARS_PER_TOKEN)
    needed = environment.max_turns * per_turn
    if needed > settings.context_tokens:
        telemetry.log(
            "WARNING",
            "context_may_overflow",
            needed_tokens=needed,
            context_tokens=settings.context_tokens,
            hint="lower MTRL_TOOL_RESULT_CHARS, the environment's max_turns, or sampling_max_tokens",
        )

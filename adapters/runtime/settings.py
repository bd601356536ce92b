"""Settings of one adapter process, read from environment variables (names: contract/variables.py)."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast
from urllib.parse import urlsplit

from adapters.contract.variables import BY_NAME

Number = TypeVar("Number", int, float)
SQS_VISIBILITY_LIMIT_SECONDS = 11 * 3600
"""SQS hides a message for at most 12 h; an hour is kept for the hand-back."""
REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]+")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingsError(ValueError):
    """All that is wrong with the settings, one problem a line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """Typed settings; seconds where not named otherwise."""

    environment: str
    loop: str
    region: str
    account: str | None
    job_name_prefix: str
    endpoint: str | None
    auth: Literal["bearer", "sigv4"]
    max_concurrency: int
    budget: float
    margin: float
    sample_timeout: float
    uncertain_retries: int
    max_tool_calls: int
    tool_timeout: float
    tool_result_chars: int
    context_tokens: int | None
    rewards: Literal["episode", "turn"]
    text_tool_call_penalty: float
    fault_reward: float
    sync_limit: float
    drain: float
    max_attempts: int
    on_crash: Literal["fail", "leave", "resume"]
    seal_keys: str | None
    archive_dir: str | None
    archive_bucket: str | None
    metrics_namespace: str
    log_level: str
    host: str
    port: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            SettingsError: lists every missing or wrong variable, with what is accepted.
        """
        read = _Reader(environ)
        read.refuse_unknown()
        settings = cls(
            environment=read.text("MTRL_ENVIRONMENT"),
            loop=read.text("MTRL_LOOP"),
            region=read.region("AWS_REGION"),
            account=read.account("MTRL_ACCOUNT_ID"),
            job_name_prefix=read.text("MTRL_JOB_NAME_PREFIX"),
            endpoint=read.endpoint("MTRL_JOB_RUNTIME_ENDPOINT"),
            auth=cast(Literal["bearer", "sigv4"], read.choice("MTRL_AUTH", "bearer", "sigv4")),
            max_concurrency=read.integer("MTRL_MAX_CONCURRENCY", 1, 10_000),
            budget=read.number("MTRL_ROLLOUT_BUDGET_SECONDS", 1, SQS_VISIBILITY_LIMIT_SECONDS),
            margin=read.number("MTRL_ROLLOUT_MARGIN_SECONDS", 0, 600),
            sample_timeout=read.number("MTRL_SAMPLE_TIMEOUT_SECONDS", 0.1, 3600),
            uncertain_retries=read.integer("MTRL_UNCERTAIN_RETRIES", 0, 10),
            max_tool_calls=read.integer("MTRL_MAX_TOOL_CALLS", 1, 10_000),
            tool_timeout=read.number("MTRL_TOOL_TIMEOUT_SECONDS", 0.01, 3600),
            tool_result_chars=read.integer("MTRL_TOOL_RESULT_CHARS", 100, 10_000_000),
            context_tokens=read.optional_integer("MTRL_CONTEXT_TOKENS", 512, 100_000_000),
            rewards=cast(Literal["episode", "turn"], read.choice("MTRL_REWARDS", "episode", "turn")),
            text_tool_call_penalty=read.number("MTRL_TEXT_TOOL_CALL_PENALTY", 0, 1),
            fault_reward=read.number("MTRL_FAULT_REWARD", -1, 1),
            sync_limit=read.number("MTRL_SYNC_LIMIT_SECONDS", 0.01, 900),
            drain=read.number("MTRL_DRAIN_SECONDS", 0, 7200),
            max_attempts=read.integer("MTRL_MAX_ATTEMPTS", 1, 1000),
            on_crash=cast(
                Literal["fail", "leave", "resume"], read.choice("MTRL_ON_CRASH", "fail", "leave", "resume")
            ),
            seal_keys=read.optional("MTRL_SEAL_KEYS"),
            archive_dir=read.optional("MTRL_ARCHIVE_DIR"),
            archive_bucket=read.optional("MTRL_ARCHIVE_BUCKET"),
            metrics_namespace=read.text("MTRL_METRICS_NAMESPACE"),
            log_level=read.choice("MTRL_LOG_LEVEL", "DEBUG", "INFO", "WARNING", "ERROR"),
            host=read.text("HOST"),
            port=read.integer("PORT", 0, 65535),
        )
        given = {"MTRL_ROLLOUT_MARGIN_SECONDS", "MTRL_ROLLOUT_BUDGET_SECONDS"}
        if settings.margin >= settings.budget and not given & read.wrong:
            read.problems.append(
                f"MTRL_ROLLOUT_MARGIN_SECONDS={settings.margin:g} leaves nothing of "
                f"MTRL_ROLLOUT_BUDGET_SECONDS={settings.budget:g}. Make the margin smaller."
            )
        if read.problems:
            raise SettingsError(read.problems)
        return settings


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What the queue worker needs besides `Settings`."""

    queue_url: str
    dead_letter_url: str
    ledger_table: str
    claim_check_bucket: str | None
    rollout_log_bucket: str | None
    health_file: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "QueueSettings":
        """Read the settings. Raises SettingsError as `Settings.from_environ`."""
        read = _Reader(environ)
        settings = cls(
            queue_url=read.queue("MTRL_QUEUE_URL"),
            dead_letter_url=read.queue("MTRL_DEAD_LETTER_URL"),
            ledger_table=read.text("MTRL_LEDGER_TABLE"),
            claim_check_bucket=read.optional("MTRL_CLAIM_CHECK_BUCKET"),
            rollout_log_bucket=read.optional("MTRL_ROLLOUT_LOG_BUCKET"),
            health_file=read.optional("MTRL_HEALTH_FILE"),
        )
        read.check_resume(settings.rollout_log_bucket)
        if read.problems:
            raise SettingsError(read.problems)
        return settings


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What the HTTP entrypoint may share with other processes; without it, each is on its own."""

    ledger_table: str | None
    rollout_log_bucket: str | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "HttpSettings":
        """Read the settings. Raises SettingsError as `Settings.from_environ`."""
        read = _Reader(environ)
        settings = cls(
            ledger_table=read.optional("MTRL_LEDGER_TABLE"),
            rollout_log_bucket=read.optional("MTRL_ROLLOUT_LOG_BUCKET"),
        )
        if settings.rollout_log_bucket and not settings.ledger_table:
            read.problems.append(
                "MTRL_ROLLOUT_LOG_BUCKET needs MTRL_LEDGER_TABLE: a log is trusted only with the ledger."
            )
        if settings.ledger_table:
            read.check_resume(settings.rollout_log_bucket)
        if read.problems:
            raise SettingsError(read.problems)
        return settings


class _Reader:
    """Reads variables one by one and collects what is wrong, so that the user sees it all at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self.wrong: set[str] = set()
        """Numbers that could not be read: what stands for them must not be compared with others."""

    def refuse_unknown(self) -> None:
        # An environment plug-in reads variables of its own: MTRL_<NAME>_… is left to it.
        own = f"MTRL_{self.environ.get('MTRL_ENVIRONMENT', '').upper()}_"
        for name in self.environ:
            if name.startswith("MTRL_") and name not in BY_NAME and not name.startswith(own):
                near = difflib.get_close_matches(name, BY_NAME, n=1)
                if near:
                    self.problems.append(f"Unknown variable {name}. Did you mean {near[0]}?")

    def check_resume(self, bucket: str | None) -> None:
        if self.optional("MTRL_ON_CRASH") == "resume" and bucket is None:
            self.problems.append(
                f"MTRL_ON_CRASH=resume needs MTRL_ROLLOUT_LOG_BUCKET: "
                f"{BY_NAME['MTRL_ROLLOUT_LOG_BUCKET'].meaning}."
            )

    def optional(self, name: str) -> str | None:
        return self.environ.get(name) or BY_NAME[name].default

    def text(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            self.problems.append(f"{name} is not set: {BY_NAME[name].meaning}.")
        return value or ""

    def choice(self, name: str, *accepted: str) -> str:
        value = self.text(name)
        if value not in accepted:
            self.problems.append(f"{name}={value!r} is none of {', '.join(accepted)}.")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        return self._ranged(name, self.text(name), int, low, high)

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        value = self.optional(name)
        return None if value is None else self._ranged(name, value, int, low, high)

    def number(self, name: str, low: float, high: float) -> float:
        return self._ranged(name, self.text(name), float, low, high)

    def _ranged(self, name: str, text: str, kind: type[Number], low: Number, high: Number) -> Number:
        try:
            value = kind(text)
        except ValueError:
            self.problems.append(f"{name}={text!r} is no {'whole ' if kind is int else ''}number.")
            self.wrong.add(name)
            return low
        if not low <= value <= high:
            self.problems.append(f"{name}={text} is outside of {low:g} to {high:g}.")
            self.wrong.add(name)
            return low
        return value

    def region(self, name: str) -> str:
        value = self.text(name)
        if value and not REGION.fullmatch(value):
            self.problems.append(f"{name}={value!r} is no Region, such as us-west-2.")
        return value

    def queue(self, name: str) -> str:
        value = self.text(name)
        try:
            url = urlsplit(value)
            good = url.scheme in ("http", "https") and bool(url.hostname) and len(url.path) > 1
        except ValueError:
            good = False
        if value and not good:
            self.problems.append(
                f"{name}={value!r} is no queue's URL, such as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME."
            )
        return value

    def account(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not (value.isdecimal() and len(value) == 12):
            self.problems.append(f"{name}={value!r} is no account id (12 digits).")
        return value

    def endpoint(self, name: str) -> str | None:
        value = self.optional(name)
        if value is None:
            return None
        try:
            url = urlsplit(value)
            plain = url.scheme == "http" and url.hostname in LOOPBACK
            good = bool(url.hostname) and (url.scheme == "https" or plain) and "@" not in url.netloc
            _ = url.port
        except ValueError:
            good = False
        spaced = any(character.isspace() for character in value)  # urlsplit drops newlines silently
        if not good or spaced or url.path.rstrip("/") or url.query or url.fragment:
            self.problems.append(
                f"{name}={value!r} is no https:// origin (http:// is taken for loopback addresses only)."
            )
        return value.rstrip("/")

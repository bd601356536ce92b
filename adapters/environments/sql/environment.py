"""The environment: checks that a task is a question about a known schema, and opens episodes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Any, Literal

from adapters.contract import Episode, Policy, RequestError, RewardTerms, Split, Task
from adapters.environments.sql.answers import SHAPING_BOUND, Target
from adapters.environments.sql.catalog import SCHEMAS
from adapters.environments.sql.database import image
from adapters.environments.sql.demonstration import demonstration
from adapters.environments.sql.episode import SqlEpisode
from adapters.environments.sql.questions import NAME, seeds, tasks
from adapters.environments.sql.sandbox import QueryRefused, Sandbox
from adapters.environments.sql.schemas import Schema, nearest

DOMAINS = ("guided", "open")
MAX_QUESTION = 2_000


class SqlEnvironment:
    """Implements `contract.Environment` and `contract.TaskSource`."""

    name = NAME
    replay: Literal["reexecute"] = "reexecute"
    """Queries only read seeded rows, so an episode can be rebuilt by calling the tools again."""
    reward_terms = RewardTerms(shaping_bound=SHAPING_BOUND)

    def __init__(self, max_turns: int) -> None:
        self.max_turns = max_turns

    def list_domains(self) -> list[str]:
        return list(DOMAINS)

    def tasks(self, domain: str, split: Split) -> list[Task]:
        """The tasks of a split. Raises ValueError for an unknown domain, with the nearest name."""
        if domain not in DOMAINS:
            raise ValueError(
                f"unknown domain {domain!r}.{nearest(domain, list(DOMAINS))} Known: {', '.join(DOMAINS)}."
            )
        return tasks(domain, split)

    def license_notice(self, domain: str) -> str | None:
        """None: all questions and rows are the kit's own."""
        return None

    def demonstrate(self, task: Task) -> Policy:
        """A policy for one episode of the task; see `demonstration`. Raises RequestError as `open`."""
        domain, schema, question, target = _read(task)
        return demonstration(schema, question, target.sql, guided=domain == "guided")

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        domain, schema, question, target = _read(task)
        images = await asyncio.to_thread(_images, schema, question, target)
        with closing(Sandbox(images[0])) as sandbox:
            yield SqlEpisode(schema, question, target, images, sandbox, guided=domain == "guided")


def _images(schema: Schema, question: str, target: Target) -> tuple[bytes, bytes]:
    """The two databases of a question; refuses a gold query that does not run on both."""
    shown, held_back = (image(schema.name, seed) for seed in seeds(schema.name, question))
    for each in (shown, held_back):
        with closing(Sandbox(each)) as sandbox:
            try:
                sandbox.query(target.sql)
            except QueryRefused:
                # SQLite's own words quote the query, and errors go to logs and to the dead-letter queue.
                raise RequestError("prompt.target.sql", "does not run as a query of the schema") from None
    return shown, held_back


def _read(task: Task) -> tuple[str, Schema, str, Target]:
    if task.environment not in (NAME, ""):
        raise RequestError("prompt.environment", f"is {task.environment!r}, and this one is {NAME!r}")
    _check_keys("prompt.input", task.input, {"domain": str, "schema": str, "question": str})
    domain, schema, question = (task.input[key] for key in ("domain", "schema", "question"))
    _known("prompt.input.domain", domain, list(DOMAINS))
    _known("prompt.input.schema", schema, list(SCHEMAS))
    if not 1 <= len(question) <= MAX_QUESTION:
        raise RequestError("prompt.input.question", f"must have 1 to {MAX_QUESTION} characters")
    _check_keys("prompt.target", task.target, {"sql": str, "ordered": bool})
    return domain, SCHEMAS[schema], question, Target(task.target["sql"], task.target["ordered"])


def _known(field: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise RequestError(field, f"unknown: {value!r}.{nearest(value, known)} Known: {', '.join(known)}.")


def _check_keys(field: str, value: Any, expected: Mapping[str, type]) -> None:
    if not isinstance(value, Mapping):
        raise RequestError(field, f"must be an object with {', '.join(expected)}")
    for key in value:
        if key not in expected:
            raise RequestError(f"{field}.{key}", f"is unknown.{nearest(str(key), list(expected))}")
    for key, kind in expected.items():
        if key not in value:
            raise RequestError(f"{field}.{key}", "is missing")
        if type(value[key]) is not kind:
            raise RequestError(
                f"{field}.{key}", f"must be a {kind.__name__}, not {type(value[key]).__name__}"
            )

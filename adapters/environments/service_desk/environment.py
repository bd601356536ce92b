"""The environment: checks that a task is one of its own, and opens episodes."""

import difflib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

from adapters.contract import Episode, Policy, RequestError, RewardTerms, Split, Task
from adapters.environments.service_desk.demonstration import demonstration
from adapters.environments.service_desk.episode import ServiceDeskEpisode
from adapters.environments.service_desk.procedure import ANSWER_FIELDS
from adapters.environments.service_desk.rewarding import SHAPING_BOUND
from adapters.environments.service_desk.tasks import DOMAIN, NAME, tasks
from adapters.environments.service_desk.world import make_world

MAX_SEED = 2**53
"""The largest whole number that every JSON reader keeps exactly."""
TABLES = ("tickets", "refunds", "escalations")


class ServiceDeskEnvironment:
    """Implements `contract.Environment` and `contract.TaskSource`."""

    name = NAME
    replay: Literal["reexecute"] = "reexecute"
    """The tools write to the episode's own desk only, and have no clock and no dice."""
    reward_terms = RewardTerms(shaping_bound=SHAPING_BOUND)

    def __init__(self, max_turns: int) -> None:
        self.max_turns = max_turns

    def list_domains(self) -> list[str]:
        return [DOMAIN]

    def tasks(self, domain: str, split: Split) -> list[Task]:
        """The tasks of a split. Raises ValueError for an unknown domain."""
        if domain != DOMAIN:
            raise ValueError(f"unknown domain {domain!r}. Known: {DOMAIN}.")
        return tasks(split)

    def license_notice(self, domain: str) -> str | None:
        """Always None: the tasks are the kit's own."""
        return None

    def demonstrate(self, task: Task) -> Policy:
        """A policy for one episode of the task, by the procedure. Raises RequestError as `open`."""
        _read(task)
        return demonstration()

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        seed, target = _read(task)
        episode = ServiceDeskEpisode(make_world(seed), target)
        try:
            yield episode
        finally:
            episode.close()


def _read(task: Task) -> tuple[int, Mapping[str, Any]]:
    if task.environment not in (NAME, ""):
        raise RequestError("prompt.environment", f"is {task.environment!r}, and this one is {NAME!r}")
    _check_keys("prompt.input", task.input, ("domain", "seed"))
    if task.input["domain"] != DOMAIN:
        raise RequestError(
            "prompt.input.domain", f"unknown domain {task.input['domain']!r}. Known: {DOMAIN}."
        )
    seed = task.input["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise RequestError("prompt.input.seed", f"must be a whole number from 0 to {MAX_SEED}")
    return seed, _target(task.target)


def _target(target: Any) -> Mapping[str, Any]:
    _check_keys("prompt.target", target, ("state", "answer"))
    _check_keys("prompt.target.answer", target["answer"], ANSWER_FIELDS)
    _check_keys("prompt.target.state", target["state"], TABLES)
    for field, text in target["answer"].items():
        if not isinstance(text, str):
            raise RequestError(
                f"prompt.target.answer.{field}", f"must be a string, not {type(text).__name__}"
            )
    for table, records in target["state"].items():
        _check_records(f"prompt.target.state.{table}", records)
    if not any(target["state"].values()):
        raise RequestError("prompt.target.state", "must name at least one record: nothing is settled without")
    return dict(target)


def _check_records(field: str, records: Any) -> None:
    """Which record is wrong is not said: its key is what the policy has to find, and errors go to logs."""
    for record in _object(field, records).values():
        if not isinstance(record, Mapping):
            raise RequestError(field, "must hold an object for each record")
        if wrong := [text for text in record.values() if not isinstance(text, str)]:
            raise RequestError(field, f"must hold records of strings, not of {type(wrong[0]).__name__}")


def _object(field: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(field, "must be an object")
    return value


def _check_keys(field: str, value: Any, expected: tuple[str, ...]) -> None:
    found = _object(field, value)
    for key in found:
        if key not in expected:
            near = difflib.get_close_matches(key, expected, n=1)
            raise RequestError(
                f"{field}.{key}", "is unknown." + (f" Did you mean {near[0]!r}?" if near else "")
            )
    for key in expected:
        if key not in found:
            raise RequestError(f"{field}.{key}", "is missing")

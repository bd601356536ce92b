"""The environment: checks that a task is a case of a known domain, and opens episodes."""

import difflib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

from adapters.contract import Episode, Policy, RequestError, RewardTerms, Task
from adapters.environments.sop.demonstration import demonstration
from adapters.environments.sop.episode import SopEpisode
from adapters.environments.sop.folder import Domain
from adapters.environments.sop.grading import SHAPING_BOUND
from adapters.environments.sop.splits import Split, tasks

NAME = "sop"
DEFAULT_DOMAIN = "returns_desk"


class SopEnvironment:
    """Implements `contract.Environment` over a set of loaded domains."""

    name = NAME
    replay: Literal["reexecute"] = "reexecute"
    """Tools only read and are deterministic, so an episode can be rebuilt by calling them again."""
    reward_terms = RewardTerms(shaping_bound=SHAPING_BOUND)

    def __init__(
        self, domains: Mapping[str, Domain], max_turns: int, notices: Mapping[str, str] | None = None
    ) -> None:
        self.domains = dict(domains)
        self._notices = dict(notices or {})
        self.max_turns = max_turns

    def list_domains(self) -> list[str]:
        """The default domain first."""
        return sorted(self.domains, key=lambda name: (name != DEFAULT_DOMAIN, name))

    def tasks(self, domain: str, split: Split) -> list[Task]:
        """The tasks of a split. Raises ValueError for an unknown domain, with the nearest name."""
        if domain not in self.domains:
            raise ValueError(
                f"unknown domain {domain!r}.{_nearest(domain, self.domains)} "
                f"Known: {', '.join(self.list_domains())}."
            )
        return tasks(self.domains[domain], split)

    def license_notice(self, domain: str) -> str | None:
        """The terms of a domain from a checkout; None for those that ship with the kit."""
        return self._notices.get(domain)

    def demonstrate(self, task: Task) -> Policy:
        """A policy for one episode of the task; see `demonstration`. Raises RequestError as `open`."""
        return demonstration(*self._read(task))

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        return self._open(task)

    @asynccontextmanager
    async def _open(self, task: Task) -> AsyncIterator[Episode]:
        domain, case, target = self._read(task)
        yield SopEpisode(domain, case, target)

    def _read(self, task: Task) -> tuple[Domain, dict[str, str], dict[str, str]]:
        if task.environment not in (NAME, ""):
            raise RequestError("prompt.environment", f"is {task.environment!r}, and this one is {NAME!r}")
        _check_keys("prompt.input", task.input, ("domain", "case"))
        domain = self._domain(task.input["domain"])
        case = _texts("prompt.input.case", task.input["case"], domain.input_columns)
        return domain, case, _texts("prompt.target", task.target, domain.output_columns)

    def _domain(self, name: Any) -> Domain:
        if isinstance(name, str) and name in self.domains:
            return self.domains[name]
        hint = _nearest(str(name), self.domains)
        raise RequestError(
            "prompt.input.domain", f"unknown domain {name!r}.{hint} Known: {', '.join(sorted(self.domains))}."
        )


def _texts(field: str, value: Any, columns: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise RequestError(field, "must be an object of column names and texts")
    _check_keys(field, value, columns)
    for column in columns:
        if not isinstance(value[column], str):
            raise RequestError(f"{field}.{column}", f"must be a string, not {type(value[column]).__name__}")
    return {column: value[column] for column in columns}


def _check_keys(field: str, value: Mapping[str, Any], expected: tuple[str, ...]) -> None:
    unknown = [key for key in value if key not in expected]
    if unknown:
        raise RequestError(f"{field}.{unknown[0]}", f"is unknown.{_nearest(unknown[0], expected)}")
    missing = [key for key in expected if key not in value]
    if missing:
        raise RequestError(f"{field}.{missing[0]}", "is missing")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""

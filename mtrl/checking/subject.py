"""What is checked: one domain of an environment, with its tasks by split."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from adapters.contract import Environment, RewardTerms, Split, Task, TaskSource, reward_terms
from adapters.runtime.plugins import PluginError, load_environment
from adapters.runtime.sealing import is_sealed
from mtrl.datasets.checks import DataSet
from mtrl.datasets.rows import make_row
from mtrl.policies import BASE, PolicyChoice
from rehearsal.policies.base import ServedPolicy
from rehearsal.service.models import make_policy

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class SubjectError(ValueError):
    """A wish that cannot be met; one sentence with the next act."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One domain of one environment."""

    reference: str
    """How another process makes the same environment; see `load`."""
    environ: Mapping[str, str]
    environment: Environment
    domain: str
    splits: Mapping[str, Sequence[Task]]
    data: DataSet
    data_is_given: bool
    """The rows are of files that a job reads, not of the environment's own tasks."""
    policy: PolicyChoice
    """The base policy."""

    @property
    def tasks(self) -> list[Task]:
        return [task for tasks in self.splits.values() for task in tasks]

    def where(self, task: Task) -> str:
        """What the user knows a task by: its row in the files that were read, else its id."""
        read = next((row.where for row in self.data.rows if row.task is task), None)
        return read or task.id or "a task without an id"

    @property
    def terms(self) -> RewardTerms:
        """What the environment declares of its reward."""
        return reward_terms(self.environment)

    @property
    def policy_is_a_model(self) -> bool:
        """The tiny policy reads names, not language: what it cannot do says little of a model."""
        return not self.policy.trainable

    def served_policy(self) -> ServedPolicy:
        """The base policy. Raises PolicyError."""
        return make_policy(self.policy.spec)


def load(reference: str, environ: Mapping[str, str]) -> Environment:
    """The environment by entry-point name, or by `module:factory` for one that is not registered.

    Raises:
        PluginError: says what was tried.
    """
    module, colon, factory = reference.partition(":")
    try:
        if not colon:
            return load_environment(reference, environ)
        made = getattr(importlib.import_module(module), factory)(environ)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"Cannot make {reference!r}: {type(error).__name__}: {error}") from error
    if not callable(getattr(made, "open", None)):
        raise PluginError(
            f"{reference!r} makes {type(made).__name__}, which is no environment: it opens none."
        )
    return cast(Environment, made)


def make_subject(
    reference: str,
    domain: str | None = None,
    *,
    data: DataSet | None = None,
    environ: Mapping[str, str] | None = None,
    policy: PolicyChoice = BASE,
    accept_license: bool = False,
    environment: Environment | None = None,
) -> Subject:
    """Find the environment, the domain and the tasks.

    Without `data` the environment's own tasks are checked. With it they are those of its rows, unless their
    targets are sealed. `environment` is one that the caller made already.

    Raises:
        SubjectError: names the option, what is wrong with it, and what to do.
    """
    environ = environ or {}
    try:
        environment = environment or load(reference, environ)
    except PluginError as error:
        hint = " Here: --accept-license." if "MTRL_SOP_BENCH_LICENSE" in str(error) else ""
        raise SubjectError(f"--environment: {error}{hint}") from None
    given = _tasks_of(data, environment.name) if data is not None else {}
    if not given and not isinstance(environment, TaskSource):
        raise SubjectError(
            f"The environment {reference!r} brings no tasks of its own. Name some with --dataset, with "
            "targets in clear (`mtrl dataset open`)."
        )
    name, own = _own(environment, domain, accept_license) if isinstance(environment, TaskSource) else ("", {})
    splits = given or own
    if not any(splits.values()):
        raise SubjectError(f"The domain {name!r} has no tasks.")
    return Subject(
        reference=reference,
        environ=environ,
        environment=environment,
        domain=name or domain or "",
        splits=splits,
        data=data if data is not None else _as_data(reference, splits),
        data_is_given=data is not None,
        policy=policy,
    )


def _own(
    environment: TaskSource, domain: str | None, accept_license: bool
) -> tuple[str, dict[str, Sequence[Task]]]:
    """The domain, and its tasks by split."""
    name = domain or environment.list_domains()[0]
    try:
        splits: dict[str, Sequence[Task]] = {split: environment.tasks(name, split) for split in SPLITS}
    except ValueError as error:
        raise SubjectError(f"--domain: {error}") from None
    notice = environment.license_notice(name)
    if notice and not accept_license:
        raise SubjectError(f"{notice} Read it, then accept it with --accept-license.")
    return name, splits


def _tasks_of(data: DataSet, environment: str) -> dict[str, Sequence[Task]]:
    """The tasks of the rows by split; none at all if one cannot be played."""
    for row in data.rows:
        if row.task.environment not in ("", environment):
            raise SubjectError(
                f"--dataset: {row.where} is of the environment {row.task.environment!r}, not {environment!r}."
            )
    if any(row.task.target is None or is_sealed(row.task.target) for row in data.rows):
        return {}
    return {name: [row.task for row in rows] for name, rows in data.splits.items()}


def _as_data(reference: str, splits: Mapping[str, Sequence[Task]]) -> DataSet:
    return DataSet(
        {
            name: [
                make_row(f"{reference}/{name}: task {n}", task.to_prompt()) for n, task in enumerate(tasks, 1)
            ]
            for name, tasks in splits.items()
        }
    )

"""What an evaluation will do, worked out and checked before anything is started."""

import asyncio
import hashlib
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from adapters.contract import Environment, RequestError, TaskSource, reward_terms
from adapters.runtime.sealing import is_sealed
from mtrl.datasets.building import SPLITS
from mtrl.datasets.files import DataError
from mtrl.datasets.rows import Row, make_row, read_rows, refuse_duplicates, same_ids, shown
from mtrl.datasets.sealing import open_rows, read_keys
from mtrl.policies import PolicyChoice, choose
from mtrl.rehearsing.plan import PlanError, sop_bench_variables, task_source
from rehearsal.trainer.hyperparameters import STANDARD_K

CONFIGURATION = 1
"""Version of what is compared when an evaluation is resumed."""
_log = logging.getLogger(__name__)
SAMPLE_SECONDS = 300
"""One turn of a remote model may take so long."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command, as they were given."""

    environment: str
    domain: str | None
    dataset: str | None
    split: str | None
    limit: int | None
    policy: str
    compare: str | None
    group: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    concurrency: int
    timeout: int
    port: int
    keys: str
    keys_typed: bool
    """Not from MTRL_SEAL_KEYS, which is set for other commands too."""
    sop_bench: Path | None
    accept_license: bool
    out: Path


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """An evaluation of one or two policies on the same tasks."""

    asked: Asked
    domain: str
    """Of the environment's own tasks; empty for a data set."""
    split: str
    tasks: Mapping[str, str]
    """Prompts by task id, in order."""
    policies: Sequence[PolicyChoice]
    adapter_environ: Mapping[str, str]
    notice: str | None
    success: float = 1.0
    """A reward from here on is a success, as the environment declares."""

    @property
    def ks(self) -> list[int]:
        """The k of pass@k and pass^k: the service's usual ones that the group can answer."""
        return [k for k in STANDARD_K if k <= self.asked.group]

    @property
    def title(self) -> str:
        where = self.domain or Path(str(self.asked.dataset)).name
        return f"{self.asked.environment}/{where}"

    def configuration(self) -> dict[str, Any]:
        """All that decides the numbers. Two evaluations with the same one are the same evaluation."""
        asked = self.asked
        prompts = hashlib.sha256("\0".join([*self.tasks, *self.tasks.values()]).encode()).hexdigest()
        return {
            "version": CONFIGURATION,
            "environment": asked.environment,
            "domain": self.domain,
            "split": self.split,
            "tasks": len(self.tasks),
            "prompts": prompts,
            "policy": dict(self.policies[0].identity),
            "compare": dict(self.policies[1].identity) if len(self.policies) > 1 else {},
            "group": asked.group,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "max_tokens": asked.max_tokens,
            "seed": asked.seed,
        }


def make_plan(asked: Asked) -> EvaluationPlan:
    """Check every option against what is there.

    Raises:
        PlanError, PolicyError: names the option, what is wrong with it, and what to do.
    """
    variables = sop_bench_variables(asked.environment, asked.sop_bench, asked.accept_license)
    policies = [choose("--policy", asked.policy)]
    if asked.compare is not None:
        policies.append(choose("--compare", asked.compare))
        if policies[0].identity == policies[1].identity and not policies[0].remote:
            raise PlanError("--compare names the same policy as --policy: there is nothing to compare.")
    if asked.temperature > 1 and any(policy.kind == "bedrock" for policy in policies):
        raise PlanError(f"--temperature {asked.temperature:g}: Bedrock takes 0 to 1.")
    try:
        source = task_source(asked.environment, variables)
        domain, rows, notice = _rows(asked, source)
        tasks = _tasks(asked, rows)
        environ = _adapter_environ(asked, variables, rows, policies)
        if asked.dataset is not None:
            # A source of tasks is what an environment is besides.
            asyncio.run(_try(cast(Environment, source), _opened(asked, rows)[: asked.limit]))
    except DataError as error:
        raise PlanError(str(error)) from None
    _check_port(asked.port)
    return EvaluationPlan(
        asked=asked,
        domain=domain,
        split="" if asked.dataset else asked.split or "test",
        tasks=tasks,
        policies=policies,
        adapter_environ=environ,
        notice=notice,
        success=reward_terms(source).success,
    )


def _rows(asked: Asked, source: TaskSource) -> tuple[str, list[Row], str | None]:
    """The domain, its rows, and the licence notice that was accepted."""
    if asked.dataset is not None:
        if asked.domain is not None or asked.split is not None:
            raise PlanError("--dataset brings its own tasks: leave --domain and --split out.")
        return "", read_rows(asked.dataset), None
    split = next((each for each in SPLITS if each == (asked.split or "test")), None)
    if split is None:
        raise PlanError(f"--split {asked.split!r} is none of {', '.join(SPLITS)}.")
    domains = source.list_domains()
    if asked.domain is None and asked.sop_bench is not None:
        raise PlanError(f"Choose what to evaluate on with --domain: {', '.join(domains)}.")
    domain = asked.domain or domains[0]
    try:
        tasks = source.tasks(domain, split)
    except ValueError as error:
        raise PlanError(f"--domain: {error}") from None
    notice = source.license_notice(domain)
    if notice and not asked.accept_license:
        raise PlanError(f"{notice} Read it, then accept it with --accept-license.")
    return domain, [make_row(f"{domain}: task {n}", t.to_prompt()) for n, t in enumerate(tasks, 1)], notice


def _tasks(asked: Asked, rows: Sequence[Row]) -> dict[str, str]:
    where = asked.dataset or f"--split {asked.split or 'test'}"
    if not rows:
        raise PlanError(f"{where}: there is no task in it.")
    foreign = [row for row in rows if row.task.environment not in ("", asked.environment)]
    if foreign:
        theirs = foreign[0].task.environment
        raise PlanError(f"{foreign[0].where}: is of the environment {theirs!r}, not {asked.environment!r}.")
    bare = [row for row in rows if row.task.target is None]
    if bare:
        raise PlanError(
            f"{where}: {len(bare)} of {len(rows)} rows have no target ({bare[0].where} is the first), so "
            "nothing can be scored. Give a data set with targets."
        )
    refuse_duplicates(rows, "Each task counts once: remove the copies.")
    if repeated := same_ids(rows):
        raise PlanError(f"One id for different tasks: {shown(repeated)}. Give each task an id of its own.")
    chosen = list(rows)[: asked.limit]
    return dict(_with_id(row) for row in chosen)


def _with_id(row: Row) -> tuple[str, str]:
    if row.task.id:
        return row.task.id, row.prompt
    task = replace(row.task, id=row.content[:16])
    return task.id, task.to_prompt()


def _adapter_environ(
    asked: Asked, variables: Mapping[str, str], rows: Sequence[Row], policies: Sequence[PolicyChoice]
) -> dict[str, str]:
    environ = dict(variables) | {"MTRL_ROLLOUT_BUDGET_SECONDS": str(asked.timeout)}
    if any(policy.remote for policy in policies):
        environ["MTRL_SAMPLE_TIMEOUT_SECONDS"] = str(SAMPLE_SECONDS)
    if _any_sealed(rows):
        environ["MTRL_SEAL_KEYS"] = _keys(asked.keys)
    elif asked.keys_typed:
        raise PlanError(
            f"--keys {asked.keys}: no target is sealed, so nothing is to be opened. Leave it out."
        )
    return environ


def _any_sealed(rows: Sequence[Row]) -> bool:
    return any(is_sealed(row.task.target) for row in rows)


def _opened(asked: Asked, rows: Sequence[Row]) -> list[Row]:
    """The rows with their targets open. Raises DataError for one that does not open."""
    if not _any_sealed(rows):
        return list(rows)
    prompts, _ = open_rows(rows, read_keys(asked.keys, ""))
    return [make_row(row.where, prompt) for row, prompt in zip(rows, prompts, strict=True)]


async def _try(environment: Environment, rows: Sequence[Row]) -> None:
    """Open an episode of each row: what the environment refuses would fail the whole job, and every time.

    Raises:
        DataError: names the first such row, and what is wrong with it.
    """
    for row in rows:
        try:
            async with environment.open(row.task):
                pass
        except RequestError as error:
            raise DataError(f"{row.where}: {error}. The environment refuses it: correct the row.") from None
        except Exception as error:  # noqa: BLE001 - an environment that breaks is what is measured
            _log.debug("%s: %s", row.where, error)


def _keys(place: str) -> str:
    if not place:
        raise PlanError("The targets are sealed. Name the key ring with --keys file:/path.json.")
    if not place.startswith("file:"):
        raise PlanError(
            f"--keys {place}: the adapter here has no credentials. Use file:/path.json, or open the targets "
            "first: `mtrl dataset open`."
        )
    return place


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PlanError(
                f"--port {port} cannot be used: {error.strerror}. Choose another, or 0 for a free one."
            ) from None

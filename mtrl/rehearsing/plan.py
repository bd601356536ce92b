"""What a rehearsal will do, worked out and checked before anything is started."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.contract import Environment, RewardTerms, Split, Task, TaskSource, reward_terms
from adapters.runtime.plugins import PluginError, load_environment
from mtrl.policies import PolicyChoice, choose

BATCH = 32
EPOCHS = 30
"""The most that the service takes, so that `max_steps` alone decides where training ends."""
GROUP = 8
EVALUATION_GROUP = 4
KS = (1, 2, 4)
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class PlanError(ValueError):
    """A wish that cannot be met; one sentence with the next act."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A rehearsal of one domain of one environment."""

    environment: str
    domain: str
    policy: PolicyChoice
    steps: int
    seed: int
    trains: bool
    """False: the base policy is evaluated, and nothing else (`why_not` says why)."""
    why_not: str
    out: Path
    tasks: Mapping[Split, Sequence[Task]]
    adapter_environ: Mapping[str, str]
    """Variables that the adapter process gets besides the usual ones."""
    notice: str | None
    """Licence terms that were accepted."""
    terms: RewardTerms = field(default_factory=RewardTerms)
    """What the environment declares of its reward."""

    @property
    def work(self) -> Path:
        return self.out / "work"

    def datasets(self) -> dict[Split, Path]:
        """Write the splits as JSONL with one `prompt` column; the files."""
        folder = self.work / "data"
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for split, tasks in self.tasks.items():
            files[split] = folder / f"{split}.jsonl"
            lines = (json.dumps({"prompt": task.to_prompt()}, ensure_ascii=False) for task in tasks)
            files[split].write_text("\n".join(lines) + "\n", encoding="utf-8")
        return files


def make_plan(
    *,
    environment: str,
    domain: str | None,
    policy: str,
    steps: int,
    seed: int,
    out: Path,
    sop_bench: Path | None,
    accept_license: bool,
    train_under_owners_license: bool,
) -> Plan:
    """Check every option against what is there.

    Raises:
        PlanError, PolicyError: names the option, what is wrong with it, and what to do.
    """
    variables = sop_bench_variables(environment, sop_bench, accept_license)
    source = task_source(environment, variables)
    if domain is None and sop_bench is not None:
        raise PlanError(f"Choose what to rehearse with --domain: {', '.join(source.list_domains())}.")
    name = domain or source.list_domains()[0]
    try:
        tasks = {split: source.tasks(name, split) for split in SPLITS}
    except ValueError as error:
        raise PlanError(f"--domain: {error}") from None
    _check_steps(steps, len(tasks["train"]))
    notice = source.license_notice(name)
    if notice and not accept_license:
        raise PlanError(f"{notice} Read it, then accept it with --accept-license.")
    chosen = choose("--policy", policy)
    why_not = _why_no_training(chosen, steps, notice is not None and not train_under_owners_license)
    return Plan(
        environment=environment,
        domain=name,
        policy=chosen,
        steps=steps,
        seed=seed,
        trains=not why_not,
        why_not=why_not,
        out=out,
        tasks=tasks,
        adapter_environ=variables,
        notice=notice,
        terms=reward_terms(source),
    )


def _check_steps(steps: int, tasks: int) -> None:
    """Refuse more steps than the service would train: it stops at the last epoch and says nothing."""
    an_epoch = max(1, tasks // BATCH)
    if steps > EPOCHS * an_epoch:
        raise PlanError(
            f"--steps {steps}: the training tasks are enough for {EPOCHS * an_epoch} ({EPOCHS} epochs, the "
            f"service's maximum, of {tasks} tasks in steps of {BATCH}). Ask for no more."
        )


def sop_bench_variables(environment: str, checkout: Path | None, accepted: bool) -> dict[str, str]:
    """The variables with which the environment finds a checkout. Raises PlanError."""
    if checkout is None:
        return {}
    if environment != "sop":
        raise PlanError(f"--sop-bench belongs to the environment sop, not to {environment!r}.")
    if not checkout.is_dir():
        raise PlanError(f"--sop-bench {checkout} is no folder. Give the path of a SOP-Bench checkout.")
    variables = {"MTRL_SOP_BENCH": str(checkout.resolve())}
    return variables | {"MTRL_SOP_BENCH_LICENSE": "accepted"} if accepted else variables


def task_source(name: str, variables: Mapping[str, str]) -> TaskSource:
    """The environment as a source of tasks. Raises PlanError."""
    try:
        environment: Environment = load_environment(name, variables)
    except PluginError as error:
        hint = " Here: --accept-license." if "MTRL_SOP_BENCH_LICENSE" in str(error) else ""
        raise PlanError(f"{error}{hint}") from None
    if not isinstance(environment, TaskSource):
        raise PlanError(f"The environment {name!r} brings no tasks of its own, so it cannot be rehearsed.")
    return environment


def _why_no_training(policy: PolicyChoice, steps: int, forbidden: bool) -> str:
    """Why the rehearsal only evaluates; empty if it trains."""
    if not policy.trainable:
        return f"the policy {policy.label} is not trained here"
    if forbidden:
        return (
            "its licence decides about training; --train-under-owners-license says that you have checked it"
        )
    return "" if steps else "--steps 0"

"""`mtrl check`: preflight of an environment, or of every domain of a SOP-Bench checkout (docs/checks.md)."""

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mtrl.checking import Effort, Subject, SubjectError, gather, judge, make_subject
from mtrl.checking.sop_bench import DomainSurvey, check_domain, domains_of, open_checkout
from mtrl.commands.dataset import show_checks
from mtrl.console import emit, fail, progress
from mtrl.datasets import splitting
from mtrl.datasets.checks import Check, DataSet, Rules, as_json
from mtrl.datasets.files import DataError
from mtrl.datasets.rows import read_rows
from mtrl.policies import ACCEPTED, ask, choose
from mtrl.rehearsing.plan import PlanError, sop_bench_variables
from mtrl.wording import counted
from rehearsal.policies.base import PolicyError


def check(
    environment: Annotated[
        str, typer.Option(help="The environment, by name, or module:factory for one not registered.")
    ] = "",
    domain: Annotated[str | None, typer.Option(help="Its domain; default: the first one.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="The files that the job reads, a split each, or their folder.")
    ] = None,
    sop_bench: Annotated[
        Path | None, typer.Option(help="A SOP-Bench checkout; without --domain, all of its domains.")
    ] = None,
    accept_license: Annotated[bool, typer.Option(help="Accept the licence that the checkout shows.")] = False,
    policy: Annotated[str, typer.Option(help=f"The base policy: {ACCEPTED}.")] = "tiny",
    rollouts: Annotated[int, typer.Option(min=8, max=4096, help="Rollouts of the base policy.")] = 128,
    tasks: Annotated[int | None, typer.Option(min=1, help="Tasks to demonstrate; default: all.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="global_batch_size of the job.")] = 128,
    require_sealed: Annotated[bool, typer.Option(help="A target in clear fails, and does not warn.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check an environment before a job is paid for; exit code 1 if a check fails."""
    if not environment and sop_bench is None:
        fail("What is to be checked? Name --environment, or a checkout with --sop-bench.")
    if require_sealed and not dataset:
        fail(
            "--require-sealed looks at the files that a job reads, and needs them: name them with --dataset."
        )
    if dataset and sop_bench is not None and domain is None:
        fail("--dataset is of one domain, and all of the checkout are to be checked: name it with --domain.")
    logging.disable(logging.CRITICAL)  # tools of a checkout log every refusal
    try:
        variables = sop_bench_variables(environment or "sop", sop_bench, accept_license)
        if sop_bench is not None and domain is None:
            failed = _check_checkout(sop_bench, variables, json_output)
        else:
            base = choose("--policy", policy)
            subject = make_subject(
                environment or "sop",
                domain,
                data=_data(dataset),
                environ={**os.environ, **variables},
                policy=base,
                accept_license=accept_license,
            )
            ask("--policy", base)
            effort = Effort(tasks=tasks, groups=rollouts // 8)
            failed = _check_one(subject, effort, Rules(batch, require_sealed=require_sealed), json_output)
    except (SubjectError, PlanError, DataError, PolicyError) as error:
        fail(str(error))
    finally:
        logging.disable(logging.NOTSET)
    if failed:
        raise typer.Exit(1)


def _data(places: Sequence[str] | None) -> DataSet | None:
    if not places:
        return None
    data = DataSet({name: read_rows(place) for name, place in splitting.named(places).items()})
    if not data.rows:
        raise DataError(f"{', '.join(places)}: there is no row in it.")
    return data


def _check_one(subject: Subject, effort: Effort, rules: Rules, json_output: bool) -> bool:
    """Check one domain and say what was found; whether a check failed."""
    evidence = asyncio.run(gather(subject, effort, rules))
    found = judge(evidence)
    if json_output:
        emit(_as_object(subject.environment.name, subject.domain, found))
    else:
        progress.print(f"[bold]{subject.environment.name}/{subject.domain}[/]", highlight=False)
        show_checks(found)
    return any(each.status == "fail" for each in found)


def _check_checkout(folder: Path, variables: dict[str, str], json_output: bool) -> bool:
    """Check every domain of a checkout, one object or table row each; whether a check failed."""
    environment = open_checkout(variables)
    surveys = []
    for name in domains_of(environment):
        survey = asyncio.run(check_domain(environment, name))
        surveys.append(survey)
        if json_output:
            emit({**_as_object("sop", name, survey.checks), "targets": survey.targets_as_json()})
        else:
            progress.print(f"{name}: replayed {counted(survey.counts()['tasks'], 'task')}", highlight=False)
    if not json_output:
        _show_surveys(surveys)
    return any(each.status == "fail" for survey in surveys for each in survey.checks)


def _as_object(environment: str, domain: str, found: Sequence[Check]) -> dict[str, Any]:
    return {"environment": environment, "domain": domain, "checks": [as_json(each) for each in found]}


def _show_surveys(surveys: Sequence[DomainSurvey]) -> None:
    table = Table()
    for column in ("domain", "tasks", "shown", "judged", "contradicted", "unreachable", "refused", "failed"):
        folds = column in ("domain", "failed")
        table.add_column(column, overflow="fold", no_wrap=not folds, justify="left" if folds else "right")
    for survey in surveys:
        failed = ", ".join(each.id for each in survey.checks if each.status == "fail")
        table.add_row(survey.domain, *(str(count) for count in survey.counts().values()), failed or "-")
    progress.print(table, highlight=False)

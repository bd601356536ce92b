"""Checks a domain of a SOP-Bench checkout: data against tools, and procedure against scorer.

Every tool is called with the right arguments, so that what a policy could have seen is known. The base policy
is not sampled here: `mtrl check --environment sop --sop-bench DIR --domain NAME` does all of it for one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.environments import sop
from mtrl.checking.evidence import Effort, Evidence
from mtrl.checking.gathering.calls import make_mistakes
from mtrl.checking.gathering.openings import open_some
from mtrl.checking.gathering.rollouts import demonstrate
from mtrl.checking.inventory import Rule, judge_data
from mtrl.checking.rules import (
    answer_format,
    target_reachable,
    target_shown,
    tasks_playable,
    tool_errors,
    tool_latency,
    tool_schemas,
    tools_reachable,
    turn_budget,
)
from mtrl.checking.subject import SubjectError, make_subject
from mtrl.checking.targets import CONTRADICTED, JUDGED, REFUSED, SHOWN, UNREACHABLE, TargetSurvey, survey
from mtrl.datasets.checks import Check

STATIC: tuple[Rule, ...] = (
    tasks_playable.check,
    target_shown.check,
    answer_format.check,
    tool_schemas.check,
    tools_reachable.check,
    tool_errors.check,
    tool_latency.check,
    target_reachable.check,
    turn_budget.check,
)


@dataclass(frozen=True, slots=True)
class DomainSurvey:
    """What was found in one domain."""

    domain: str
    rows: int
    """In the file; rows with the same input are one task."""
    contradicting_rows: int
    """Inputs that occur with different targets."""
    targets: TargetSurvey
    checks: list[Check]

    def counts(self) -> dict[str, int]:
        """Tasks, and how many of them are in each state."""
        found = self.targets.tasks
        return {
            "tasks": sum(found.values()),
            "shown": found[SHOWN],
            "left_to_judgement": found[JUDGED],
            "contradicted": found[CONTRADICTED],
            "unreachable": found[UNREACHABLE],
            "refused_by_every_tool": found[REFUSED],
        }

    def targets_as_json(self) -> dict[str, Any]:
        return {
            **self.counts(),
            "rows": self.rows,
            "inputs_with_different_targets": self.contradicting_rows,
            "fields": {name: dict(states) for name, states in self.targets.fields.items()},
            "examples": dict(self.targets.examples),
            "tools_that_refused": dict(self.targets.refusals),
        }


def open_checkout(variables: Mapping[str, str]) -> sop.SopEnvironment:
    """The environment with the checkout's domains. Raises SubjectError."""
    try:
        environment = sop.create(variables)
    except ValueError as error:
        hint = " Here: --accept-license." if "MTRL_SOP_BENCH_LICENSE" in str(error) else ""
        raise SubjectError(f"--sop-bench: {error}{hint}") from None
    for domain in environment.domains.values():
        # Nothing else runs here, and the way to a thread and back takes longer than most tools.
        domain.toolbox.blocking = False
    return environment


def domains_of(environment: sop.SopEnvironment) -> list[str]:
    """The domains of the checkout, without those that ship with the kit."""
    return [name for name in environment.list_domains() if environment.license_notice(name)]


async def check_domain(environment: sop.SopEnvironment, domain: str) -> DomainSurvey:
    """Replay every task of the domain, and judge."""
    subject = make_subject("sop", domain, environment=environment, accept_license=True)
    evidence = Evidence(subject, Effort(second_process=False))
    await open_some(evidence)
    await make_mistakes(evidence)
    await demonstrate(evidence)
    found = environment.domains[domain]
    return DomainSurvey(
        domain=domain,
        rows=len(found.rows),
        contradicting_rows=_contradicting(found),
        targets=survey(evidence.demonstrations),
        checks=[rule(evidence) for rule in STATIC] + judge_data(evidence),
    )


def _contradicting(domain: sop.Domain) -> int:
    targets: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for row in domain.rows:
        case = tuple(row[column] for column in domain.input_columns)
        targets.setdefault(case, set()).add(tuple(row[column] for column in domain.output_columns))
    return sum(len(each) > 1 for each in targets.values())

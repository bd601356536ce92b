"""The environment as the runtime sees it: its factory, the tasks it refuses, the episodes it opens."""

import dataclasses
import json
from importlib.metadata import entry_points
from typing import Any

import pytest

from adapters.contract import Environment, Episode, RequestError, Task
from adapters.environments import sop
from tests.environments.play import SHIPPED, domain

ENVIRONMENT = sop.create({})
TASK = sop.tasks(domain("returns_desk"), "train")[0]


async def _refusal(task: Task) -> RequestError:
    with pytest.raises(RequestError) as caught:
        async with ENVIRONMENT.open(task):
            pass
    return caught.value


def _with_input(**changes: Any) -> Task:
    return dataclasses.replace(TASK, input={**TASK.input, **changes})


async def test_it_is_an_environment_of_the_contract_and_registered() -> None:
    environment: Environment = ENVIRONMENT
    assert (environment.name, environment.max_turns, environment.replay) == ("sop", 24, "reexecute")
    (entry,) = entry_points(group="mtrl.environments", name="sop")
    assert entry.load() is sop.create
    async with environment.open(TASK) as episode:
        same: Episode = episode
        assert await same.reply("anything") is None


async def test_the_opening_has_the_procedure_the_template_and_the_case() -> None:
    async with ENVIRONMENT.open(TASK) as episode:
        system, user = episode.messages
    subject = domain("returns_desk")
    assert (system["role"], user["role"]) == ("system", "user")
    assert f"<sop>\n{subject.sop}\n</sop>" in system["content"]
    template = sop.final_output(system["content"])
    assert template is not None
    assert list(template) == list(subject.output_columns)
    assert template["eligibility"] == "approved | denied | manual_review"
    assert template["refund_amount"] == "<value>"
    assert user["content"].splitlines()[1:] == [f"{k}: {v}" for k, v in TASK.input["case"].items()]


async def test_nothing_of_the_target_is_in_what_the_policy_is_given() -> None:
    secret = dataclasses.replace(TASK, target=dict.fromkeys(TASK.target, "the-secret-value"))
    async with ENVIRONMENT.open(secret) as episode:
        assert "the-secret-value" not in json.dumps([list(episode.messages), list(episode.tools)])


async def test_a_task_survives_its_prompt() -> None:
    async with ENVIRONMENT.open(Task.from_prompt(TASK.to_prompt())) as episode:
        assert episode.tools


async def test_an_unknown_domain_is_refused_with_the_nearest_name() -> None:
    error = await _refusal(_with_input(domain="return_desk"))
    assert error.field == "prompt.input.domain"
    assert "'return_desk'. Did you mean 'returns_desk'?" in error.problem
    assert all(name in error.problem for name in SHIPPED)


@pytest.mark.parametrize(
    ("task", "field"),
    [
        (dataclasses.replace(TASK, environment="sql"), "prompt.environment"),
        (dataclasses.replace(TASK, input={"text": "hello"}), "prompt.input.text"),
        (dataclasses.replace(TASK, input={"domain": "returns_desk"}), "prompt.input.case"),
        (_with_input(domain=3), "prompt.input.domain"),
        (_with_input(domain=["returns_desk"]), "prompt.input.domain"),
        (_with_input(case="RT-1"), "prompt.input.case"),
        (_with_input(case={}), "prompt.input.case.return_id"),
        (_with_input(case={**TASK.input["case"], "return": "x"}), "prompt.input.case.return"),
        (_with_input(case={**TASK.input["case"], "return_id": 7}), "prompt.input.case.return_id"),
        (dataclasses.replace(TASK, target=None), "prompt.target"),
        (dataclasses.replace(TASK, target={"eligibility": "denied"}), "prompt.target.policy_code"),
    ],
)
async def test_a_malformed_task_is_refused_by_field(task: Task, field: str) -> None:
    assert (await _refusal(task)).field == field


async def test_an_empty_environment_name_is_ours() -> None:
    async with ENVIRONMENT.open(dataclasses.replace(TASK, environment="")) as episode:
        assert episode.messages


def test_max_turns_is_a_setting() -> None:
    assert sop.create({"MTRL_SOP_MAX_TURNS": "7"}).max_turns == 7
    for wrong in ("0", "-1", "many", "1e3", "99999", "٣"):
        with pytest.raises(ValueError, match="MTRL_SOP_MAX_TURNS"):
            sop.create({"MTRL_SOP_MAX_TURNS": wrong})


def test_the_catalog_names_the_domains_and_the_nearest() -> None:
    assert set(sop.list_domains({})) == set(SHIPPED)
    with pytest.raises(ValueError, match="Did you mean 'lab_intake'"):
        sop.load_domain("lab_intakes", {})

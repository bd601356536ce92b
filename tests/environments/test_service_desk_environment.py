"""The environment as the runtime sees it: tasks, splits, determinism, isolation, teardown, reachability."""

import asyncio
import dataclasses
import hashlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import jsonschema_rs
import pytest

from adapters.contract import Environment, RequestError, Split, Task, TaskSource
from adapters.environments import service_desk
from tests.environments.desk_play import (
    ALL_TASKS,
    ENVIRONMENT,
    SPLITS,
    Desk,
    by_the_procedure,
    denies_all,
    hard_of_hearing,
    lazy,
    played,
)

TASK = service_desk.make_task(7)
DIGEST = "b3dab482fa55b0730750ec5b0a1a80504c635754d790ee324155d08982e5da39"
"""Of all tasks. If a change here is meant, every rollout log and evaluation of before is of other tasks."""


def transcript_of_all() -> str:
    """What an agent by the procedure sees and does on the held-out tasks, as one digest."""

    async def run() -> str:
        seen = hashlib.sha256()
        for task in ENVIRONMENT.tasks("refunds", "test"):
            async with ENVIRONMENT.open(task) as episode:
                desk = Desk(episode)
                await by_the_procedure(desk)
                calls = [(record.call, record.result) for record in desk.transcript.calls]
                seen.update(repr((calls, desk.facts, desk.grades())).encode())
        return seen.hexdigest()

    return asyncio.run(run())


def test_it_is_an_environment_of_the_contract_and_registered() -> None:
    environment: Environment = ENVIRONMENT
    assert (environment.name, environment.max_turns, environment.replay) == ("service_desk", 20, "reexecute")
    assert isinstance(environment, TaskSource)
    assert environment.license_notice("refunds") is None
    (entry,) = entry_points(group="mtrl.environments", name="service_desk")
    assert entry.load() is service_desk.create


def test_the_tasks_are_many_pinned_and_in_disjoint_splits() -> None:
    assert len(ALL_TASKS) >= 100
    assert [task.id for split in SPLITS for task in ENVIRONMENT.tasks("refunds", split)] == list(
        dict.fromkeys(task.id for task in ALL_TASKS)
    )
    worlds = {repr(service_desk.make_world(task.input["seed"])) for task in ALL_TASKS}
    assert len(worlds) == len(ALL_TASKS)
    text = "\n".join(task.to_prompt() for task in ALL_TASKS)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_every_kind_of_case_and_customer(split: Split) -> None:
    tasks = ENVIRONMENT.tasks("refunds", split)
    scripts = [service_desk.make_world(task.input["seed"]).script for task in tasks]
    assert {task.target["answer"]["resolution"] for task in tasks} == {"refunded", "escalated", "denied"}
    assert {script.recall for script in scripts} == {"knows", "forgets", "mistakes"}
    assert {script.reluctant for script in scripts} == {True, False}
    assert {script.first_method == script.final_method for script in scripts} == {True, False}


def test_an_agent_by_the_procedure_scores_one_on_every_task() -> None:
    async def run() -> set[tuple[float, float]]:
        return {await played(task, by_the_procedure) for task in ALL_TASKS}

    assert asyncio.run(run()) == {(1.0, 1.0)}


async def test_an_agent_by_the_procedure_needs_no_more_than_two_thirds_of_the_turns() -> None:
    for task in ALL_TASKS:
        async with ENVIRONMENT.open(task) as episode:
            desk = Desk(episode)
            await by_the_procedure(desk)
            assert len(desk.transcript.turns) * 3 <= ENVIRONMENT.max_turns * 2


async def test_a_lazy_agent_scores_nothing() -> None:
    for task in ALL_TASKS:
        reward, score = await played(task, lazy)
        assert score == 0.0
        assert 0.0 < reward <= service_desk.SHAPING_BOUND


async def test_shortcuts_pay_only_where_they_happen_to_be_right() -> None:
    for task in ALL_TASKS:
        script = service_desk.make_world(task.input["seed"]).script
        denied = task.target["answer"]["resolution"] == "denied"
        same = denied or script.first_method == script.final_method
        assert await played(task, denies_all) == (1.0, 1.0) or not denied
        assert (await played(task, denies_all))[1] == float(denied)
        assert (await played(task, hard_of_hearing))[1] == float(same)


def test_two_processes_see_the_same() -> None:
    code = "from tests.environments.test_service_desk_environment import *; print(transcript_of_all())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == transcript_of_all()


async def test_interleaved_episodes_do_not_see_each_other() -> None:
    async with ENVIRONMENT.open(TASK) as first, ENVIRONMENT.open(TASK) as second:
        one, other = Desk(first), Desk(second)
        await asyncio.gather(by_the_procedure(one), by_the_procedure(other))
        assert one.grades() == other.grades() == (1.0, 1.0)
    # The second starts when the first has written all: it finds nothing of it.
    async with ENVIRONMENT.open(TASK) as first, ENVIRONMENT.open(TASK) as second:
        await by_the_procedure(Desk(first))
        fresh = Desk(second)
        ticket = await fresh.use("get_ticket", ticket_id=fresh.facts["ticket_id"])
        assert ticket["status"] == "open"
        await by_the_procedure(fresh)
        assert fresh.grades() == (1.0, 1.0)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, KeyboardInterrupt])
async def test_an_episode_is_torn_down_whatever_happens(error: type[BaseException]) -> None:
    opened: list[Desk] = []

    async def breaks_off() -> None:
        async with ENVIRONMENT.open(TASK) as episode:
            opened.append(Desk(episode))
            await by_the_procedure(opened[0])
            raise error

    with pytest.raises(error):
        await breaks_off()
    (desk,) = opened
    assert getattr(desk.episode, "state", None) == {}
    assert not await desk.use("get_ticket", ticket_id=desk.facts["ticket_id"])
    assert desk.refusals[-1] == "There is no tool get_ticket."


async def test_nothing_of_the_target_is_in_what_the_policy_is_given() -> None:
    for task in ALL_TASKS:
        script = service_desk.make_world(task.input["seed"]).script
        async with ENVIRONMENT.open(task) as episode:
            given = json.dumps([list(episode.messages), list(episode.tools)])
        answer = task.target["answer"]
        assert script.postcode not in given
        assert script.order_id not in given
        assert answer["reference"] == "none" or answer["reference"] not in given


async def test_every_tool_has_a_valid_schema_and_is_used_by_some_case_or_named() -> None:
    used: set[str] = set()
    for task in ALL_TASKS[:60]:
        async with ENVIRONMENT.open(task) as episode:
            desk = Desk(episode)
            await by_the_procedure(desk)
            used |= {record.call.name for record in desk.transcript.calls}
            schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in episode.tools}
            for record in desk.transcript.calls:
                jsonschema_rs.validator_for(schemas[record.call.name]).validate(record.arguments)
            assert all(name in episode.messages[0]["content"] for name in schemas)
    assert used | {"get_ticket"} == set(schemas)


async def test_a_task_survives_its_prompt() -> None:
    assert await played(Task.from_prompt(TASK.to_prompt()), by_the_procedure) == (1.0, 1.0)


def _target(**changes: Any) -> Task:
    return dataclasses.replace(TASK, target={**TASK.target, **changes})


@pytest.mark.parametrize(
    ("task", "field"),
    [
        (dataclasses.replace(TASK, environment="sop"), "prompt.environment"),
        (dataclasses.replace(TASK, input={"text": "hello"}), "prompt.input.text"),
        (dataclasses.replace(TASK, input={"domain": "refunds"}), "prompt.input.seed"),
        (dataclasses.replace(TASK, input={"domain": "refund", "seed": 1}), "prompt.input.domain"),
        (dataclasses.replace(TASK, input={"domain": "refunds", "seed": "1"}), "prompt.input.seed"),
        (dataclasses.replace(TASK, input={"domain": "refunds", "seed": True}), "prompt.input.seed"),
        (dataclasses.replace(TASK, input={"domain": "refunds", "seed": -1}), "prompt.input.seed"),
        (dataclasses.replace(TASK, target=None), "prompt.target"),
        (dataclasses.replace(TASK, target={"answer": {}}), "prompt.target.state"),
        (_target(answer={"resolution": "denied"}), "prompt.target.answer.refund_amount"),
        (_target(answer={**TASK.target["answer"], "reference": 5}), "prompt.target.answer.reference"),
        (_target(state={"tickets": {}, "refunds": {}, "escalations": {}}), "prompt.target.state"),
        (_target(state={**TASK.target["state"], "refund": {}}), "prompt.target.state.refund"),
        (_target(state={**TASK.target["state"], "refunds": []}), "prompt.target.state.refunds"),
        (_target(state={**TASK.target["state"], "refunds": {"OR-1": 3}}), "prompt.target.state.refunds"),
        (
            _target(state={**TASK.target["state"], "refunds": {"OR-1": {"x": 3}}}),
            "prompt.target.state.refunds",
        ),
    ],
)
async def test_a_malformed_task_is_refused_by_field(task: Task, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        async with ENVIRONMENT.open(task):
            pass
    assert caught.value.field == field
    assert "OR-1" not in str(caught.value)  # what a target holds is in no error


def test_settings_and_domains_are_checked() -> None:
    assert service_desk.create({"MTRL_SERVICE_DESK_MAX_TURNS": "7"}).max_turns == 7
    for wrong in ("0", "-1", "many", "99999", "٣"):
        with pytest.raises(ValueError, match="MTRL_SERVICE_DESK_MAX_TURNS"):
            service_desk.create({"MTRL_SERVICE_DESK_MAX_TURNS": wrong})
    with pytest.raises(ValueError, match="Known: refunds"):
        ENVIRONMENT.tasks("refund", "test")

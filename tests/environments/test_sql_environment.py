"""The `sql` environment as the runtime sees it: tasks it refuses, episodes, their tools, their isolation."""

import asyncio
import dataclasses
import gc
import json
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import entry_points
from typing import Any

import jsonschema_rs
import pytest

from adapters.contract import Environment, Episode, RequestError, Task, TaskSource
from adapters.environments import sql
from adapters.environments.sql.database import image
from adapters.environments.sql.questions import seeds
from tests.environments.sql_play import ENVIRONMENT, TASKS, ask, of_family

TASK = of_family("How many orders")
OPEN_TASK = dataclasses.replace(TASK, input={**TASK.input, "domain": "open"})
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
PLAY = """
import asyncio, json, sys
from tests.environments.sql_play import TASKS, ENVIRONMENT
async def main():
    for task in TASKS[::9]:
        async with ENVIRONMENT.open(task) as episode:
            print(json.dumps([list(episode.messages), list(episode.tools)]))
            for name, given in (
                ("list_tables", {}), ("match_question", {"question": task.input["question"]}),
                ("run_query", {"sql": task.target["sql"]}), ("run_query", {"sql": "DROP TABLE x"}),
            ):
                print((await episode.call(name, given)).content)
asyncio.run(main())
"""


async def _refusal(task: Task) -> RequestError:
    with pytest.raises(RequestError) as caught:
        async with ENVIRONMENT.open(task):
            pass
    return caught.value


def _with(part: str, **changes: Any) -> Task:
    changed: dict[str, Any] = {part: {**getattr(TASK, part), **changes}}
    return dataclasses.replace(TASK, **changed)


async def test_it_is_an_environment_of_the_contract_and_registered() -> None:
    environment: Environment = ENVIRONMENT
    assert isinstance(ENVIRONMENT, TaskSource)
    assert (environment.name, environment.max_turns, environment.replay) == ("sql", 12, "reexecute")
    (entry,) = entry_points(group="mtrl.environments", name="sql")
    assert entry.load() is sql.create
    assert ENVIRONMENT.list_domains()[0] == "guided"
    assert ENVIRONMENT.license_notice("guided") is None
    async with environment.open(TASK) as episode:
        same: Episode = episode
        assert await same.reply("anything") is None


def test_an_unknown_domain_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="Did you mean 'guided'"):
        ENVIRONMENT.tasks("guide", "train")


def test_max_turns_is_a_setting() -> None:
    assert sql.create({"MTRL_SQL_MAX_TURNS": "7"}).max_turns == 7
    for wrong in ("0", "-1", "many", "1e3", "99999"):
        with pytest.raises(ValueError, match="MTRL_SQL_MAX_TURNS"):
            sql.create({"MTRL_SQL_MAX_TURNS": wrong})


@pytest.mark.parametrize(
    ("task", "field"),
    [
        (dataclasses.replace(TASK, environment="sop"), "prompt.environment"),
        (dataclasses.replace(TASK, input={"text": "hello"}), "prompt.input.text"),
        (dataclasses.replace(TASK, input={"domain": "open", "schema": "shop"}), "prompt.input.question"),
        (_with("input", domain="guide"), "prompt.input.domain"),
        (_with("input", schema="shops"), "prompt.input.schema"),
        (_with("input", schema=["shop"]), "prompt.input.schema"),
        (_with("input", question=""), "prompt.input.question"),
        (_with("input", question="x" * 3000), "prompt.input.question"),
        (dataclasses.replace(TASK, target=None), "prompt.target"),
        (_with("target", ordered="yes"), "prompt.target.ordered"),
        (_with("target", sql="SELECT nothing FROM nowhere"), "prompt.target.sql"),
        (_with("target", sql="DELETE FROM orders"), "prompt.target.sql"),
    ],
)
async def test_a_malformed_task_is_refused_by_field(task: Task, field: str) -> None:
    assert (await _refusal(task)).field == field


async def test_a_refusal_does_not_quote_the_target() -> None:
    """The words of SQLite do: no such column: …"""
    refusal = await _refusal(_with("target", sql="SELECT what_nobody_may_read FROM orders"))
    assert "what_nobody_may_read" not in str(refusal)


async def test_a_question_of_ones_own_is_a_task() -> None:
    own = dataclasses.replace(
        TASK,
        input={"domain": "open", "schema": "shop", "question": "Who bought nothing?"},
        target={"sql": "SELECT customer_name FROM customers", "ordered": False},
    )
    async with ENVIRONMENT.open(Task.from_prompt(own.to_prompt())) as episode:
        assert "Who bought nothing?" in episode.messages[1]["content"]


async def test_nothing_of_the_target_reaches_the_policy() -> None:
    """Neither the opening nor a tool changes with the target."""
    other = _with("target", sql="SELECT 'the-secret-value' FROM customers")
    seen = []
    for task in (TASK, other):
        async with ENVIRONMENT.open(task) as episode:
            matched = await ask(episode, "match_question", question=TASK.input["question"])
            seen.append(json.dumps([list(episode.messages), list(episode.tools), matched]))
    assert seen[0] == seen[1]
    assert "the-secret-value" not in seen[1]


async def test_the_open_domain_has_the_reading_tools_alone() -> None:
    async with ENVIRONMENT.open(OPEN_TASK) as episode:
        names = [tool["function"]["name"] for tool in episode.tools]
        assert names == ["list_tables", "describe_table", "sample_rows", "run_query"]
        assert "match_question" not in episode.messages[0]["content"]
        assert (await ask(episode, "match_question", question="x"))[1]


async def test_the_reading_tools() -> None:
    async with ENVIRONMENT.open(TASK) as episode:
        assert (await ask(episode, "list_tables"))[0] == {"tables": ["customers", "orders", "returns"]}
        described, _ = await ask(episode, "describe_table", table="orders")
        assert described["foreign_key"] == "customer_id -> customers.customer_id"
        assert {"name": "channel", "type": "TEXT", "values": ["web", "phone", "store"]} in described[
            "columns"
        ]
        sampled, _ = await ask(episode, "sample_rows", table="orders")
        assert [row["order_id"] for row in sampled["rows"]] == [1, 2, 3]
        queried, _ = await ask(episode, "run_query", sql="SELECT 1 AS a, NULL AS b, x'00ff' AS c, 9e999 AS d")
        assert queried == {"columns": ["a", "b", "c", "d"], "rows": [[1, None, "00ff", "inf"]]}


@pytest.mark.parametrize(
    ("tool", "given", "part"),
    [
        ("run_query", {"sql": "DELETE FROM orders"}, "Only queries that read"),
        ("run_query", {"sql": "ATTACH ':memory:' AS x"}, "Only queries that read"),
        ("run_query", {"sql": "PRAGMA query_only = OFF"}, "Only queries that read"),
        ("run_query", {"sql": "SELECT load_extension('x')"}, "not available|not authorized"),
        ("run_query", {"sql": ENDLESS}, "takes too long"),
        ("run_query", {"sql": "SELECT 1 FROM orders a, orders b"}, "more than 100 rows"),
        ("run_query", {"sql": "SELECT nope FROM orders"}, "no such column"),
        ("run_query", {"query": "SELECT 1"}, "Wrong arguments"),
        ("describe_table", {"table": "order"}, "Did you mean 'orders'"),
        ("sample_rows", {"table": "orders; DROP TABLE orders"}, "There is no table"),
        ("match_question", {"question": "Tell me a joke."}, "cannot read"),
        (
            "narrow_query",
            {"filter_column": "status", "filter_operator": "is", "filter_value": "x"},
            "no draft",
        ),
        ("close", {}, "There is no tool"),
        ("_table", {"name": "orders"}, "There is no tool"),
    ],
)
async def test_what_goes_wrong_is_a_tool_error(tool: str, given: dict[str, Any], part: str) -> None:
    async with ENVIRONMENT.open(TASK) as episode:
        body, refused = await ask(episode, tool, **given)
        assert refused
        assert any(piece in body["error"] for piece in part.split("|"))
        assert (await ask(episode, "run_query", sql="SELECT COUNT(*) FROM orders"))[0]["rows"] == [[48]]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"operation": "sum"}, "needs a measure"),
        ({"operation": "sum", "measure": "seats"}, "no column 'seats'"),
        ({"operation": "sum", "measure": "status"}, "no numbers"),
        ({"operation": "top", "measure": "amount"}, "limit must be"),
        ({"group_by": "doctors.site"}, "no column"),
        ({"table": "order"}, "Did you mean 'orders'"),
    ],
)
async def test_a_draft_of_parts_that_do_not_fit_is_refused_and_not_kept(
    given: dict[str, Any], part: str
) -> None:
    parts = {"table": "orders", "operation": "count", "measure": "none", "group_by": "none", "limit": 0}
    async with ENVIRONMENT.open(TASK) as episode:
        body, refused = await ask(episode, "draft_query", **{**parts, **given})
        assert refused
        assert part in body["error"]
        narrowing = {"filter_column": "status", "filter_operator": "is", "filter_value": "open"}
        assert (await ask(episode, "narrow_query", **narrowing))[1]


async def test_the_guided_tools_lead_to_the_gold_query_of_every_task() -> None:
    for task in TASKS:
        async with ENVIRONMENT.open(task) as episode:
            schemas = {t["function"]["name"]: t["function"]["parameters"] for t in episode.tools}
            parts, _ = await ask(episode, "match_question", question=task.input["question"])
            for step in parts["next_steps"]:
                given = {name: parts[name] for name in schemas[step]["required"]}
                jsonschema_rs.validate(schemas[step], given)
                drafted, refused = await ask(episode, step, **given)
                assert not refused
            assert drafted["sql"] == task.target["sql"]


async def test_interleaved_episodes_do_not_see_each_other() -> None:
    parts = {"table": "orders", "operation": "count", "measure": "none", "group_by": "none", "limit": 0}
    narrowing = {"filter_column": "status", "filter_operator": "is", "filter_value": "open"}
    async with ENVIRONMENT.open(TASK) as one, ENVIRONMENT.open(TASK) as two:
        await ask(one, "draft_query", **parts)
        assert (await ask(two, "narrow_query", **narrowing))[1], "the draft of the other is not there"
        first, second = await asyncio.gather(
            *(ask(episode, "run_query", sql=TASK.target["sql"]) for episode in (one, two))
        )
        assert first == second
        await one.call("run_query", {"sql": ENDLESS})
        assert not (await ask(two, "run_query", sql="SELECT 1"))[1]


async def test_a_long_query_does_not_hold_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.environments.sql.sandbox.MAX_STEPS", 10**12)
    monkeypatch.setattr("adapters.environments.sql.sandbox.MAX_SECONDS", 0.4)
    async with ENVIRONMENT.open(TASK) as episode:
        running = asyncio.ensure_future(episode.call("run_query", {"sql": ENDLESS}))
        beats = 0
        while not running.done():
            await asyncio.sleep(0.02)
            beats += 1
        assert (await running).is_error
    assert beats >= 8


async def test_an_episode_that_is_cut_in_a_query_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.environments.sql.sandbox.MAX_STEPS", 10**12)
    monkeypatch.setattr("adapters.environments.sql.sandbox.MAX_SECONDS", 30.0)
    started = time.monotonic()

    async def play() -> None:
        async with ENVIRONMENT.open(TASK) as episode:
            running = asyncio.ensure_future(episode.call("run_query", {"sql": ENDLESS}))
            await asyncio.sleep(0.1)
            running.cancel()
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        await play()
    assert time.monotonic() - started < 3.0


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_an_episode_leaves_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = _with("input", question="How many are there, leaving nothing?")
    for seed in seeds("shop", fresh.input["question"]):
        image("shop", seed)
    opened: list[sqlite3.Connection] = []
    real = sqlite3.connect

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        opened.append(real(*given, **named))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)

    async def play() -> None:
        async with ENVIRONMENT.open(fresh) as episode:
            await episode.reply('<final_output>{"sql": "SELECT 1"}</final_output>')
            await episode.call("run_query", {"sql": "SELECT 1"})
            raise RuntimeError("whatever happens")

    with pytest.raises(RuntimeError, match="whatever"):
        await play()
    assert len(opened) == 7, "two to check the gold query, one for the tools, four to grade"
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    opened.clear()
    gc.collect()  # an unclosed one would warn here


def test_two_processes_play_the_same_episodes() -> None:
    def run(seed: str) -> str:
        command = [sys.executable, "-c", PLAY]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout

    first = run("1")
    assert len(first.splitlines()) == 5 * len(TASKS[::9])
    assert first == run("2")

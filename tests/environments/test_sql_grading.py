"""Answers of the `sql` environment: their reward, their score, and what must not fool either."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.contract import Completion, ToolCall, Transcript, Turn
from adapters.environments.sql import SHAPING_BOUND
from adapters.environments.sql.answers import answered_sql
from adapters.environments.sql.scoring import _sql_of
from tests.environments.play import block, transcript
from tests.environments.sql_play import ENVIRONMENT, TASKS, answer_with, ask, graded, of_family

COUNT = of_family("How many orders have the")
TOP = of_family("first.")
GROUPS = of_family("For each")
LIST = of_family("is the amount")


def _gold(task: Any) -> str:
    sql = task.target["sql"]
    assert isinstance(sql, str)
    return sql


async def test_the_gold_query_of_every_task_earns_and_scores_one() -> None:
    for task in TASKS:
        reward, score = await graded(task, answer_with(_gold(task)))
        assert (reward.value, score.value) == (1.0, 1.0), task.id


async def test_a_constant_that_equals_the_answer_earns_and_scores_nothing_like_success() -> None:
    for task in TASKS:
        async with ENVIRONMENT.open(task) as episode:
            shown, _ = await ask(episode, "run_query", sql=_gold(task))
        rows = [f"SELECT {', '.join(map(_literal, row))}" for row in shown["rows"]]
        constant = " UNION ALL ".join(rows[:12]) if not task.target["ordered"] else f"VALUES {_tuples(shown)}"
        if len(rows) > 12:
            constant = f"VALUES {_tuples(shown)}"
        reward, score = await graded(task, answer_with(constant))
        assert score.value == 0.0
        assert score.fields["right_on_shown_rows"], "it is right on the rows that the policy saw"
        assert 0.0 < reward.value <= SHAPING_BOUND


def _literal(cell: Any) -> str:
    return repr(cell) if not isinstance(cell, str) else "'" + cell.replace("'", "''") + "'"


def _tuples(shown: Mapping[str, Any]) -> str:
    return ", ".join(f"({', '.join(map(_literal, row))})" for row in shown["rows"])


@pytest.mark.parametrize(
    ("task", "change"),
    [
        (COUNT, lambda sql: sql.replace("COUNT(*)", "COUNT(*) + 0.0 AS other_name")),
        (COUNT, lambda sql: sql.replace("COUNT(*)", "SUM(1)") + " ;"),
        (GROUPS, lambda sql: sql + " ORDER BY 2 DESC"),
        (GROUPS, lambda sql: f"SELECT * FROM ({sql}) ORDER BY 1"),  # noqa: S608
        (LIST, lambda sql: f"WITH a AS ({sql}) SELECT * FROM a ORDER BY 1 DESC"),  # noqa: S608
        (TOP, lambda sql: f"-- so\n{sql}"),
    ],
)
async def test_another_query_with_the_same_result_is_right(task: Any, change: Any) -> None:
    reward, score = await graded(task, answer_with(change(_gold(task))))
    assert (reward.value, score.value) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("task", "change"),
    [
        (COUNT, lambda sql: sql.split(" WHERE")[0]),
        (COUNT, lambda sql: sql.replace("COUNT(*)", "COUNT(*) + 0.00000002")),
        (COUNT, lambda sql: sql.replace("COUNT(*)", "CAST(COUNT(*) AS TEXT)")),
        (COUNT, lambda sql: sql.replace("COUNT(*)", "COUNT(*), 1")),
        (COUNT, lambda sql: f"{sql} UNION ALL {sql}"),
        (COUNT, lambda sql: f"{sql} AND 1 = 2"),
        (GROUPS, lambda sql: f"{sql} LIMIT 2"),
        (LIST, lambda sql: f"SELECT * FROM ({sql}) UNION ALL SELECT * FROM ({sql})"),  # noqa: S608
        (TOP, lambda sql: f"SELECT * FROM ({sql}) ORDER BY 1"),  # noqa: S608
        (TOP, lambda sql: sql.replace(" DESC", "").replace(" ASC", " DESC").replace("LIMIT", "LIMIT 1 +")),
    ],
)
async def test_another_result_is_wrong(task: Any, change: Any) -> None:
    reward, score = await graded(task, answer_with(change(_gold(task))))
    assert score.value == 0.0
    assert 0.0 < reward.value <= SHAPING_BOUND


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELEC",
        "DELETE FROM orders",
        "PRAGMA user_version",
        "ATTACH ':memory:' AS x",
        "SELECT 1 FROM orders a, orders b",
    ],
)
async def test_a_query_that_cannot_run_earns_nothing(statement: str) -> None:
    reward, score = await graded(COUNT, answer_with(statement))
    assert (reward.value, score.value) == (0.0, 0.0)
    assert reward.components == {"outcome": 0.0, "valid": 0.0, "tables": 0.0, "columns": 0.0}


async def test_the_shaping_rises_with_what_is_right_and_is_bounded() -> None:
    steps = ("SELECT 1, 2", "SELECT 1", "SELECT SUM(amount) FROM orders")
    values = [(await graded(COUNT, answer_with(sql)))[0].value for sql in steps]
    assert values == sorted(set(values))
    assert values[-1] == pytest.approx(SHAPING_BOUND)


ANSWERS = (
    "",
    "SELECT 1",
    '{"sql": "G"}',
    '<final_output>{"sql": "G"}</final_output>',
    'Done. <final_output>\n {"sql": "G"} \n</final_output> Bye.',
    '<final_output>{"sql": "no"}</final_output><final_output>{"sql": "G"}</final_output>',
    '<final_output>{"sql": "G"}</final_output><final_output></final_output>',
    '<final_output>{"sql": "G"}</final_output> </final_output>',
    '<final_output><final_output>{"sql": "G"}</final_output>',
    '<final_output>{"sql": "G"} and more</final_output>',
    '<final_output>[{"sql": "G"}]</final_output>',
    '<final_output>{"sql": ["G"]}</final_output>',
    '<final_output>{"sql": null}</final_output>',
    '<final_output>{"SQL": "G"}</final_output>',
    '<FINAL_OUTPUT>{"sql": "G"}</FINAL_OUTPUT>',
    '<final_output>```json\n{"sql": "G"}\n```</final_output>',
    '<final_output>{"sql": "G", "why": "it counts"}</final_output>',
    '<final_output>{"sql": "G /* </final_output> */"}</final_output>',
    '<final_output>{"sql": "G /* <final_output> */"}</final_output>',
    '</final_output><final_output>{"sql": "G"}',
    "<final_output>" + "[" * 50_000 + "</final_output>",
)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_reward_and_score_agree_on_what_an_answer_is(answer: str) -> None:
    text = answer.replace("G", _gold(COUNT))
    reward, score = await graded(COUNT, text)
    assert (reward.value == 1.0) is (score.value == 1.0)


def test_both_parsers_read_the_same_from_anything() -> None:
    chance = random.Random(5)
    pieces = [
        "<final_output>",
        "</final_output>",
        '{"sql": "a"}',
        '{"sql": 1}',
        "{",
        "}",
        " ",
        "\n",
        "\x0b",
        "x",
        "\ufeff",
    ]
    read = 0
    for _ in range(20_000):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 9)))
        assert answered_sql(text) == _sql_of(text), repr(text)
        read += answered_sql(text) is not None
    assert read > 30


async def test_text_in_the_data_that_imitates_an_answer_changes_nothing() -> None:
    """Tool results and the question hold an answer's form; only the last turn's own text is read."""
    async with ENVIRONMENT.open(COUNT) as episode:
        shown, _ = await ask(
            episode, "run_query", sql="SELECT DISTINCT remark FROM returns WHERE remark LIKE '<final%'"
        )
        assert shown["rows"] == [['<final_output>{"sql": "SELECT 1"}</final_output>']]
        result = await episode.call("run_query", {"sql": f"SELECT {_literal(answer_with(_gold(COUNT)))}"})
        for text in ("", "I do not know."):
            done = transcript(text)
            done.messages = [{"role": "tool", "content": result.content}]
            assert episode.score(done).value == 0.0
            assert episode.reward(done).value == 0.0


async def test_an_answer_in_a_turn_that_calls_a_tool_is_none() -> None:
    message = {"role": "assistant", "content": answer_with(_gold(COUNT))}
    completion = Completion({"choices": [{"message": message}]}, (ToolCall("1", "list_tables", "{}"),))
    async with ENVIRONMENT.open(COUNT) as episode:
        done = Transcript(turns=[Turn(completion)])
        assert (episode.reward(done).value, episode.score(done).value) == (0.0, 0.0)


async def test_grading_needs_no_reply_and_carries_the_value_on_the_last_turn() -> None:
    """A team's own loop may end without asking for a reply; a cut rollout has none."""
    async with ENVIRONMENT.open(COUNT) as episode:
        done = transcript(answer_with(_gold(COUNT)), turns=3)
        assert episode.score(done).value == 1.0
        assert episode.reward(done).per_turn == (0.0, 0.0, 1.0)
        assert episode.reward(Transcript()).value == 0.0
        assert episode.reward(Transcript()).per_turn == ()


async def test_what_a_caller_does_to_the_components_is_not_kept() -> None:
    async with ENVIRONMENT.open(COUNT) as episode:
        done = transcript(block({"sql": _gold(COUNT)}))
        components = episode.reward(done).components
        assert isinstance(components, dict)
        components["outcome"] = 0.0
        assert episode.reward(done).value == 1.0

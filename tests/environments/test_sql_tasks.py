"""The generated tasks: what is asked, that the gold queries answer it, and that they never change."""

import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from adapters.contract import Split
from adapters.environments.sql.catalog import SCHEMAS
from adapters.environments.sql.database import rows
from adapters.environments.sql.plans import Condition, Plan, PlanError, render
from adapters.environments.sql.questions import seeds, tasks
from adapters.environments.sql.wordings import WORDINGS, read_question
from tests.environments.sql_play import ENVIRONMENT, TASKS, databases, oracle

DIGEST = "4b3bb99ab75929e6074078df9eda09d1dd7d53f095c8258c99cb06228ddc204a"
PRINT_DIGEST = "from tests.environments.test_sql_tasks import digest; print(digest())"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def digest() -> str:
    """Of every task of both domains, and of the rows that they are asked about."""
    found = hashlib.sha256()
    for domain in ENVIRONMENT.list_domains():
        for task in tasks(domain):
            found.update(task.to_prompt().encode())
    for schema in SCHEMAS.values():
        found.update(repr(rows(schema, "digest")).encode())
    return found.hexdigest()


def test_there_are_enough_tasks_over_enough_schemas() -> None:
    assert len(SCHEMAS) >= 5
    assert len(TASKS) == 270
    assert len({task.id for task in TASKS}) == len({task.input["question"] for task in TASKS}) == 270
    assert set(Counter(task.input["schema"] for task in TASKS).values()) == {5 * len(WORDINGS)}


def test_the_tasks_are_pinned() -> None:
    assert digest() == DIGEST


def test_another_process_makes_the_same_tasks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == digest()


def test_the_splits_are_disjoint_complete_and_the_same_in_both_domains() -> None:
    questions = {}
    for domain in ENVIRONMENT.list_domains():
        parts = [{t.input["question"] for t in ENVIRONMENT.tasks(domain, split)} for split in SPLITS]
        assert [len(part) for part in parts] == [len(ENVIRONMENT.tasks(domain, split)) for split in SPLITS]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 270
        assert all(len(part) >= 30 for part in parts)
        questions[domain] = parts
    assert questions["guided"] == questions["open"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_gold_query_gives_what_the_rows_say_on_both_databases(schema: str) -> None:
    for task in (t for t in TASKS if t.input["schema"] == schema):
        plan = read_question(SCHEMAS[schema], task.input["question"])
        assert plan is not None
        answers = []
        for box, data in databases(task):
            result = [tuple(row) for row in box.query(task.target["sql"]).rows]
            box.close()
            expected = oracle(SCHEMAS[schema], plan, data)
            assert result, task.input["question"]
            assert _sorted(task.target["ordered"], result) == _sorted(task.target["ordered"], expected)
            answers.append(result)
        assert answers[0] != answers[1], "a constant would do"


def _sorted(ordered: bool, found: list[tuple[object, ...]]) -> list[object]:
    flat = [tuple(round(c, 6) if isinstance(c, float) else c for c in row) for row in found]
    return list(flat) if ordered else sorted(flat, key=repr)


def test_the_two_databases_of_a_question_have_other_rows_and_the_same_tables() -> None:
    (shown, first), (held_back, second) = databases(TASKS[0])
    assert first != second
    assert first.keys() == second.keys()
    for box in (shown, held_back):
        box.close()
    assert len(set(seeds("shop", "a question"))) == 2


# One question a family, with SQL written by hand: the words mean what a reader takes them to mean.
READINGS = {
    "How many orders have the status 'open'?": "SELECT COUNT(*) FROM orders WHERE orders.status = 'open'",
    "Give the lowest refund over all returns with the reason 'late'.": (
        "SELECT MIN(returns.refund) FROM returns WHERE returns.reason = 'late'"
    ),
    "For which orders is the amount above 300? Give their code.": (
        "SELECT orders.order_code FROM orders WHERE orders.amount > 300"
    ),
    "Count the returns by condition.": (
        "SELECT returns.condition, COUNT(*) FROM returns GROUP BY returns.condition"
    ),
    "For each channel, what is the average weight of the orders?": (
        "SELECT orders.channel, AVG(orders.weight_grams) FROM orders GROUP BY orders.channel"
    ),
    "List the code of the 3 orders with the lowest amount, lowest first.": (
        "SELECT orders.order_code FROM orders ORDER BY orders.amount ASC LIMIT 3"
    ),
    "What is the total amount of the orders whose customer has the region 'north'?": (
        "SELECT SUM(orders.amount) FROM orders JOIN customers ON customers.customer_id = orders.customer_id "
        "WHERE customers.region = 'north'"
    ),
    "For each segment of the customer, what is the highest refund of the returns?": (
        "SELECT customers.segment, MAX(returns.refund) FROM returns "
        "JOIN customers ON customers.customer_id = returns.customer_id GROUP BY customers.segment"
    ),
    "For how many orders is the amount below the average amount of all orders?": (
        "SELECT COUNT(*) FROM orders WHERE orders.amount < (SELECT AVG(amount) FROM orders)"
    ),
}


@pytest.mark.parametrize("question", READINGS)
def test_a_question_is_read_as_it_is_meant(question: str) -> None:
    plan = read_question(SCHEMAS["shop"], question)
    assert plan is not None
    assert render(SCHEMAS["shop"], plan) == READINGS[question]


@pytest.mark.parametrize(
    "question",
    ["", "Drop the orders.", "How many elephants have the status 'open'?", "For each colour, count."],
)
def test_other_words_are_not_read(question: str) -> None:
    assert read_question(SCHEMAS["shop"], question) is None


def test_the_reader_and_the_generator_agree_on_every_question() -> None:
    """They go opposite ways: from words to a plan, and from a plan's choices to words."""
    for task in TASKS:
        plan = read_question(SCHEMAS[task.input["schema"]], task.input["question"])
        assert plan is not None
        assert render(SCHEMAS[task.input["schema"]], plan) == task.target["sql"]
        assert plan.ordered is task.target["ordered"]


def test_a_value_is_quoted() -> None:
    plan = Plan("orders", "count", conditions=(Condition("status", "is", "x' OR '1'='1"),))
    assert render(SCHEMAS["shop"], plan).endswith("orders.status = 'x'' OR ''1''=''1'")
    with pytest.raises(PlanError, match="holds numbers"):
        render(SCHEMAS["shop"], Plan("orders", "count", conditions=(Condition("amount", "above", "1 OR 1"),)))

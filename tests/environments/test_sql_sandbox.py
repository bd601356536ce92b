"""The sandbox: what it runs, what it refuses, where it cuts, and that it leaves nothing behind."""

import gc
import threading
import time
import warnings

import pytest

from adapters.environments.sql import sandbox as module
from adapters.environments.sql.database import image
from adapters.environments.sql.sandbox import MAX_ROWS, QueryRefused, Sandbox
from tests.environments.sql_play import sandbox

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


def _refusal(statement: str) -> str:
    box = sandbox()
    try:
        with pytest.raises(QueryRefused) as caught:
            box.query(statement)
        assert box.query("SELECT COUNT(*) FROM orders").rows == ((48,),), "it goes on after a refusal"
        return str(caught.value)
    finally:
        box.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders (order_id) VALUES (999)",
        "UPDATE orders SET status = 'paid'",
        "DELETE FROM orders",
        "DROP TABLE orders",
        "CREATE TABLE mine (a)",
        "CREATE TEMP TABLE mine (a)",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
        "ALTER TABLE orders ADD COLUMN b",
        "ATTACH DATABASE '/tmp/other.db' AS other",
        "ATTACH ':memory:' AS other",
        "DETACH DATABASE main",
        "PRAGMA query_only = OFF",
        "PRAGMA table_info(orders)",
        "SELECT * FROM pragma_table_info('orders')",
        "SELECT * FROM pragma_database_list",
        "SELECT COUNT(*) FROM pragma_table_info('orders')",
        "SELECT * FROM json_each('[1]')",
        "SELECT * FROM sqlite_temp_master",
        "VACUUM INTO '/tmp/copy.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "SAVEPOINT s",
        "WITH x AS (SELECT 1) INSERT INTO orders SELECT * FROM orders",
        "EXPLAIN DELETE FROM orders",
    ],
)
def test_only_reading_is_allowed(statement: str) -> None:
    text = _refusal(statement)
    assert any(part in text for part in ("Only queries that read", "no query", "not available", "limit"))


@pytest.mark.parametrize(
    "call",
    [
        "load_extension('/tmp/x.so')",
        "random()",
        "randomblob(10)",
        "zeroblob(1000000000)",
        "printf('%.*c', 1000000000, 'x')",
        "readfile('/etc/passwd')",
        "writefile('/tmp/x', 'y')",
        "date('now')",
        "datetime()",
        "CURRENT_TIMESTAMP",
        "strftime('%s', 'now')",
        "fts3_tokenizer('simple')",
        "sqlite_version()",
    ],
)
def test_functions_of_clock_chance_and_files_are_absent(call: str) -> None:
    text = _refusal(f"SELECT {call}")
    assert "is not available here" in text or "no such function" in text


@pytest.mark.parametrize(
    "statement",
    ["", ";", "-- nothing", "SELEC 1", "SELECT 1; SELECT 2", "SELECT * FROM nowhere", "SELECT ?", "\0"],
)
def test_what_is_no_single_query_is_refused(statement: str) -> None:
    assert _refusal(statement)


@pytest.mark.parametrize(
    "statement",
    [
        ENDLESS,
        ENDLESS.replace("COUNT(*)", "i") + " WHERE i < 0",
        "SELECT COUNT(*) FROM orders a, orders b, orders c, orders d, orders e",
    ],
)
def test_a_query_that_never_ends_is_cut(statement: str) -> None:
    started = time.monotonic()
    assert "takes too long" in _refusal(statement)
    assert time.monotonic() - started < module.MAX_SECONDS


@pytest.mark.parametrize("name", ["c{}", '"c {}"', "[c{}]", "'c{}'", "`C{}`", "c{}/* AS */", "é${}"])
@pytest.mark.parametrize("form", ["{n} AS ({q})", "{n}(x) AS ({q})", "{n} (x)--\n AS NOT MATERIALIZED ({q})"])
def test_tables_that_double_each_other_are_refused_before_they_unfold(name: str, form: str) -> None:
    """SQLite would take minutes to prepare this, and hear no interrupt."""
    parts = [form.format(n=name.format(0), q="SELECT 1 AS x")]
    for at in range(1, 28):
        twice = f"SELECT 1 AS x FROM {name.format(at - 1)} a, {name.format(at - 1).upper()} b"  # noqa: S608
        parts.append(form.format(n=name.format(at), q=twice))
    started = time.monotonic()
    statement = f"WITH {', '.join(parts)} SELECT COUNT(*) FROM {name.format(27)}"  # noqa: S608
    assert "too often" in _refusal(statement)
    assert time.monotonic() - started < 2.0


def test_tables_of_one_name_inside_each_other_are_counted_each() -> None:
    nested = "SELECT 1 AS x"
    for _ in range(20):
        nested = f"WITH c AS ({nested}) SELECT 1 AS x FROM c AS one, c AS two"  # noqa: S608
    assert "too often" in _refusal(nested)


def test_a_chain_of_tables_is_no_doubling() -> None:
    links = ", ".join(f"c{at} AS (SELECT c{at - 1}.x + 1 AS x FROM c{at - 1})" for at in range(1, 9))  # noqa: S608
    box = sandbox()
    assert box.query(f"WITH c0 AS (SELECT 1 AS x), {links} SELECT c8.x FROM c8").rows == ((9,),)  # noqa: S608
    box.close()


def test_a_value_that_grows_is_cut() -> None:
    grown = "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) SELECT MAX(LENGTH(s)) FROM n"
    assert "too big" in _refusal(grown)


def test_it_is_cut_at_the_same_step_and_not_by_the_clock() -> None:
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT COUNT(*) FROM n"
    box = sandbox()
    assert box.query(count.format(1_000)).rows == ((1_000,),)
    for _ in range(2):
        with pytest.raises(QueryRefused, match="takes too long"):
            box.query(count.format(1_000_000))
    box.close()


def test_the_clock_is_a_backstop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STEPS", 10**12)
    monkeypatch.setattr(module, "MAX_SECONDS", 0.1)
    started = time.monotonic()
    assert "takes too long" in _refusal(ENDLESS)
    assert 0.1 <= time.monotonic() - started < 2.0


def test_long_results_are_refused_by_rows_and_by_size() -> None:
    assert f"more than {MAX_ROWS} rows" in _refusal("SELECT 1 FROM orders a, orders b")
    assert "longer than" in _refusal(
        "SELECT replace('aaaaaaaaaa', 'a', remark || remark || remark) FROM returns"
    )
    assert "too big" in _refusal(
        "SELECT group_concat(replace(order_code, ' ', '          ' || status)) FROM orders, customers"
    )


def test_a_query_may_use_what_is_common() -> None:
    box = sandbox()
    result = box.query(
        "WITH big AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY status ORDER BY amount) AS at FROM orders) "
        "SELECT upper(status), ROUND(AVG(amount), 1) FROM big JOIN customers USING (customer_id) "
        "WHERE at < 9 AND status LIKE '%e%' AND CASE WHEN amount > 0 THEN 1 ELSE 0 END GROUP BY 1"
    )
    assert result.tables == {"orders", "customers"}
    assert len(result.columns) == 2
    assert box.query("SELECT name FROM sqlite_master WHERE type = 'table'").rows
    assert box.query("SELECT CAST(x'ff' AS TEXT)").rows == (("�",),)
    box.close()


def test_sandboxes_of_one_image_share_nothing() -> None:
    """Written past the guards: even then the other one does not see it."""
    one, two = sandbox(), sandbox()
    one._connection.set_authorizer(None)
    with pytest.raises(QueryRefused, match="readonly"):  # query_only holds by itself
        one.query("DELETE FROM orders RETURNING order_id")
    one._connection.execute("PRAGMA query_only = OFF")
    one._connection.execute("DELETE FROM orders")
    assert one.query("SELECT COUNT(*) FROM orders").rows == ((0,),)
    assert two.query("SELECT COUNT(*) FROM orders").rows == ((48,),)
    one.close()
    two.close()


def test_closing_cuts_a_running_query_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STEPS", 10**12)
    monkeypatch.setattr(module, "MAX_SECONDS", 60.0)
    box, caught = sandbox(), []

    def run() -> None:
        with pytest.raises(QueryRefused) as refused:
            box.query(ENDLESS)
        caught.append(refused.value)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    started = time.monotonic()
    box.close()
    thread.join(5)
    assert time.monotonic() - started < 2.0
    assert len(caught) == 1
    with pytest.raises(QueryRefused, match="closed"):
        box.query("SELECT 1")


def test_a_closed_sandbox_leaves_its_connection_to_nobody() -> None:
    def made(*, close: bool) -> list[str]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            box = sandbox()
            if close:
                box.close()
            references = len(gc.get_referrers(box._connection))
            del box
            gc.collect()
        assert references == 1
        return [str(w.message) for w in seen if issubclass(w.category, ResourceWarning)]

    assert made(close=True) == []


def test_a_broken_image_is_an_error_and_closes() -> None:
    with pytest.raises(Exception, match=r"not a database|malformed|deserialize"):
        Sandbox(b"x" * 4096)
    assert image("shop", "test")[:6] == b"SQLite"

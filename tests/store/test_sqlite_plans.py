"""How SQLite goes about our statements: by keys and partial indexes, never through a whole table."""

import sqlite3
from collections.abc import Iterator

import pytest

from motet.store.mutations import KIND_NAMES, KINDS, EndRun, EnterState, PutInbox, RecordFact, ReleaseRun, TakeInbox
from motet.store.sqlite import owning, reading
from motet.store.sqlite.schema import migrate
from motet.store.sqlite.statements import (
    _UPDATES,
    MAX_CHUNK,
    contradicting,
    emptying,
    length_for,
    refusing,
    rounds,
    statement,
)

TABLES = ("run", "history", "event", "inbox", "worker", "catalog", "ticket")
CLAIM = {"worker": 1, "now": 1, "known": "[]", "fingerprint": "", "limit": 1}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "memory")
    yield connection
    connection.close()


def plan(database: sqlite3.Connection, sql: str, values: dict[str, object] | None = None) -> list[str]:
    bound = values if values is not None else [None] * sql.count("?")
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", bound)]


def scanned(steps: list[str]) -> set[str]:
    """The tables that the plan walks through."""
    return {table for table in TABLES for step in steps if step.split(" USING ")[0] == f"SCAN {table}"}


@pytest.mark.parametrize("count", [1, 4, MAX_CHUNK])
@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES.get)
def test_no_mutation_walks_through_a_table(database: sqlite3.Connection, kind: type, count: int) -> None:
    steps = plan(database, statement(kind, count))
    assert scanned(steps) == set()
    if kind in _UPDATES:
        keys = {"SEARCH run USING PRIMARY KEY (uid=?)", "SEARCH run USING INDEX run_id (id=? AND uid=?)"}
        assert keys & set(steps)
    if kind is TakeInbox:
        assert "SEARCH inbox USING PRIMARY KEY (uid=? AND key=?)" in steps
    if kind is PutInbox:
        assert "SEARCH run USING PRIMARY KEY (uid=?)" in steps


def test_nor_does_what_looks_after_them(database: sqlite3.Connection) -> None:
    for sql in (emptying(4), contradicting(4), *(refusing(kind, 4) for kind in (EnterState, EndRun, ReleaseRun))):
        assert scanned(plan(database, sql)) == set()
    key = "SEARCH history USING PRIMARY KEY (uid=? AND generation=? AND position=?)"
    assert key in plan(database, contradicting(4))


def test_claiming_goes_by_the_partial_indexes(database: sqlite3.Connection) -> None:
    steps = plan(database, owning._CLAIM, dict(CLAIM))
    assert scanned(steps) == {"inbox"}, "the inbox is short, and comes first on purpose"
    assert "SEARCH run USING INDEX run_due (wake_at<?)" in steps
    assert "SEARCH run USING INDEX run_blocked (workflow=?)" in steps
    assert "SEARCH run USING PRIMARY KEY (uid=?)" in steps


def test_looking_for_work_goes_by_the_partial_indexes(database: sqlite3.Connection) -> None:
    steps = plan(database, reading._PROSPECT, dict(CLAIM))
    assert scanned(steps) == {"inbox"}
    assert "SEARCH run USING INDEX run_due (wake_at>?)" in steps
    assert "SEARCH run USING COVERING INDEX run_owner (owner=? AND uid=?)" in steps


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (reading._HISTORIES, "SEARCH history USING PRIMARY KEY (uid=? AND generation=?)"),
        ("SELECT * FROM run WHERE id = ?", "SEARCH run USING INDEX run_id (id=?)"),
        ("SELECT * FROM run WHERE owner = ?", "SEARCH run USING INDEX run_owner (owner=?)"),
        ("UPDATE run SET owner = NULL WHERE owner = ?", "SEARCH run USING COVERING INDEX run_owner (owner=?)"),
        ("SELECT * FROM run WHERE uid IN (SELECT value FROM json_each(?))", "SEARCH run USING PRIMARY KEY (uid=?)"),
        ("SELECT * FROM event WHERE position > ?", "SEARCH event USING INTEGER PRIMARY KEY (rowid>?)"),
        ("SELECT * FROM worker WHERE buried = 0 ORDER BY id", "SCAN worker USING INDEX worker_alive"),
        ("INSERT INTO ticket (id) VALUES (?) ON CONFLICT DO NOTHING", None),
    ],
)
def test_reading_goes_by_an_index(database: sqlite3.Connection, sql: str, index: str | None) -> None:
    steps = plan(database, sql)
    assert index is None or index in steps


def test_few_statements_are_ever_prepared() -> None:
    """All of them fit into the connection's cache (512), whatever the sizes of batches are."""
    sizes = sorted({length_for(count, fill=fill) for count in range(1, 2 * MAX_CHUNK) for fill in (True, False)})
    texts = {statement(kind, size) for kind in KINDS for size in sizes} | {emptying(size) for size in sizes}
    assert sizes[-1] == MAX_CHUNK
    assert len(texts) < 400
    assert statement(RecordFact, 8) is statement(RecordFact, 8), "the cache is asked by the very same text"
    values = max(statement(kind, MAX_CHUNK).count("?") for kind in KINDS)
    assert values < 32_766, "the most values that SQLite binds to one statement by default"


def test_rounds_name_each_run_once_and_keep_the_order() -> None:
    rows = [(uid, number) for number, uid in enumerate("abacabad")]
    groups = rounds(EnterState, rows)
    assert [[uid for uid, _ in group] for group in groups] == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["a"]]
    assert all(group == sorted(group, key=lambda row: row[1]) for group in groups)
    assert rounds(RecordFact, rows) == [rows], "what is inserted may name a run often"

"""How SQLite goes about our statements: by keys and partial indexes, never through a whole table."""

import sqlite3
from collections.abc import Iterator

import pytest

from motet.store.batches import rounds
from motet.store.mutations import (
    KIND_NAMES,
    KINDS,
    AppendOnce,
    EndRun,
    EndWait,
    EnterState,
    MissExpected,
    PutInbox,
    RecordFact,
    RegisterWait,
    ReleaseRun,
    TakeInbox,
)
from motet.store.payloads import TABLES as TABLES_OF_PAYLOADS
from motet.store.payloads import Table
from motet.store.protocol import EventFilter
from motet.store.sqlite import (
    claiming,
    counting,
    delivering,
    expecting,
    finding,
    payloads,
    pruning,
    pruning_log,
    reading,
    seen,
    waiting,
)
from motet.store.sqlite.schema import migrate
from motet.store.sqlite.statements import (
    _UPDATES,
    MAX_CHUNK,
    contradicting,
    emptying,
    length_for,
    not_missed,
    refusing,
    statement,
)

TABLES = (
    *("run", "history", "event", "inbox", "worker", "catalog", "ticket", "queue"),
    *("published", "cursor", "delivery", "expected", "wait", "event_key"),
)
STATED = [
    kind for kind in KINDS if kind not in (AppendOnce, RegisterWait, EndWait)
]  # which are more than one statement


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "memory")
    yield connection
    connection.close()


def places(sql: str) -> int:
    """How many values it is given: one for each mark, and one for a mark with a number, however often it is named."""
    return sql.count("?") - max(sql.count("?1") - 1, 0)


def plan(database: sqlite3.Connection, sql: str, values: dict[str, object] | list[object] | None = None) -> list[str]:
    bound = values if values is not None else [None] * places(sql)
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", bound)]


def scanned(steps: list[str]) -> set[str]:
    """The tables that the plan walks through."""
    return {table for table in TABLES for step in steps if step.split(" USING ")[0] == f"SCAN {table}"}


@pytest.mark.parametrize("count", [1, 4, MAX_CHUNK])
@pytest.mark.parametrize("kind", STATED, ids=KIND_NAMES.get)
def test_no_mutation_walks_through_a_table(database: sqlite3.Connection, kind: type, count: int) -> None:
    steps = plan(database, statement(kind, count))
    assert scanned(steps) == set()
    if kind in _UPDATES:
        keys = {
            "SEARCH run USING PRIMARY KEY (uid=?)", "SEARCH run USING INDEX run_id (id=? AND uid=?)",
            "SEARCH cursor USING PRIMARY KEY (name=?)",
        }  # fmt: skip
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


def test_what_is_expected_is_found_by_its_keys_and_by_its_time(database: sqlite3.Connection) -> None:
    """However many are open: none of them is in memory."""
    key = "SEARCH expected USING PRIMARY KEY (expectation=? AND key=?"
    for view, index in {
        "all": f"{key})",
        "unsettled": "SEARCH expected USING INDEX expected_unsettled (expectation=? AND key=?)",
        "early": f"{key} AND position=?)",
    }.items():
        steps = plan(database, expecting.FOR_KEYS[view], ["r", "[]"])
        assert index in steps
    assert plan(database, expecting.OPEN) == ["SEARCH expected USING INDEX expected_open (expectation=?)"]
    assert scanned(plan(database, not_missed(4))) == set()
    assert f"{key} AND position=?)" in plan(database, statement(MissExpected, 4))


def test_lines_are_found_by_jumping_along_an_index(database: sqlite3.Connection) -> None:
    steps = plan(database, claiming._LINES)
    for columns in (
        *("queue=? AND workflow=? AND version=? AND priority>?", "queue=? AND workflow=? AND version>?"),
        *("queue=? AND workflow>?", "queue>?"),
    ):
        assert f"SEARCH run USING INDEX run_due ({columns})" in steps
    assert "SEARCH next USING PRIMARY KEY (uid=?)" in steps
    assert "SCAN run USING INDEX run_due" in steps, "the first line alone, by LIMIT 1"
    assert "USE TEMP B-TREE" not in " ".join(steps)


def test_a_line_is_read_by_its_index(database: sqlite3.Connection) -> None:
    search = "run_due (queue=? AND workflow=? AND version=? AND priority=? AND wake_at"
    due = plan(database, f"SELECT uid, wake_at {claiming._IN_LINE} AND wake_at <= ? ORDER BY wake_at LIMIT ?")
    assert due == [f"SEARCH run USING INDEX {search}>? AND wake_at<?)"]
    (later,) = plan(database, f"SELECT min(wake_at) {claiming._IN_LINE} AND wake_at > ?")
    assert later == f"SEARCH run USING INDEX {search}>?)"


def test_places_are_counted_worker_by_worker(database: sqlite3.Connection) -> None:
    steps = plan(database, claiming._PLACES_TAKEN)
    assert steps == [
        "SCAN worker USING INDEX worker_alive",
        "SEARCH run USING COVERING INDEX run_owner (owner=? AND queue=?)",
    ]


def test_taking_goes_by_the_key(database: sqlite3.Connection) -> None:
    steps = plan(database, claiming._TAKE, {"worker": 1, "uids": "[]"})
    assert scanned(steps) == set()
    assert "SEARCH run USING PRIMARY KEY (uid=?)" in steps


def test_who_has_messages_is_looked_up_by_the_inbox(database: sqlite3.Connection) -> None:
    values: dict[str, object] = {"known": "[]", "closed": "[]", "fingerprint": ""}
    woken = plan(database, f"SELECT DISTINCT run.queue {claiming._WOKEN} {claiming._FOR_ME}", values)
    assert scanned(woken) == {"inbox"}, "the inbox is short, and comes first on purpose"
    assert "SEARCH run USING PRIMARY KEY (uid=?)" in woken
    curable = plan(database, f"SELECT 1 {claiming._CURABLE} {claiming._FOR_ME}", values)
    assert scanned(curable) == set()
    assert "SEARCH run USING INDEX run_blocked (workflow=? AND version=?)" in curable


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (reading._HISTORIES, "SEARCH history USING PRIMARY KEY (uid=? AND generation=?)"),
        ("SELECT * FROM run WHERE id = ?", "SEARCH run USING INDEX run_id (id=?)"),
        ("SELECT * FROM run WHERE owner = ?", "SEARCH run USING INDEX run_owner (owner=?)"),
        ("UPDATE run SET owner = NULL WHERE owner = ?", "SEARCH run USING COVERING INDEX run_owner (owner=?)"),
        ("SELECT * FROM run WHERE uid IN (SELECT value FROM json_each(?))", "SEARCH run USING PRIMARY KEY (uid=?)"),
        ("SELECT * FROM event WHERE position > ?", "SEARCH event USING INTEGER PRIMARY KEY (rowid>?)"),
        (reading.EVENTS_AT, "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"),
        (reading.EVENTS_OF, "SEARCH event USING INDEX event_conversation (correlationid=? AND rowid>?)"),
        (reading.HEADINGS, "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("SELECT * FROM worker WHERE buried = 0 ORDER BY id", "SCAN worker USING INDEX worker_alive"),
        ("INSERT INTO ticket (id) VALUES (?) ON CONFLICT DO NOTHING", None),
    ],
)
def test_reading_goes_by_an_index(database: sqlite3.Connection, sql: str, index: str | None) -> None:
    steps = plan(database, sql)
    assert index is None or index in steps


@pytest.mark.parametrize("after", [None, 7])
def test_a_conversations_events_are_found_by_its_index(database: sqlite3.Connection, after: int | None) -> None:
    sql, values = finding.query(EventFilter(("order.*",), "k", "talk", "shop", after))
    (step,) = plan(database, sql, values)
    assert step.startswith("SEARCH event USING INDEX event_conversation (correlationid=?")


def test_how_old_what_is_behind_a_position_is_takes_one_step(database: sqlite3.Connection) -> None:
    assert "SEARCH event USING INTEGER PRIMARY KEY (rowid>?)" in plan(database, finding.RECORDED_BEHIND)


def test_counting_goes_by_what_is_open(database: sqlite3.Connection) -> None:
    """However many runs have ended; and of those that rest, only the index is read."""
    assert plan(database, counting.LOADS) == ["SEARCH run USING COVERING INDEX run_owner (owner>?)"]
    steps = plan(database, counting.STATES)
    assert "SEARCH run USING INDEX run_owner (owner>?)" in steps
    assert "SCAN run USING COVERING INDEX run_resting" in steps
    assert [step for step in steps if " run" in step and "USING" not in step] == []
    steps = plan(database, counting.VERSIONS)
    assert "SEARCH run USING INDEX run_owner (owner>?)" in steps
    assert "SCAN run USING INDEX run_resting" in steps
    assert [step for step in steps if " run" in step and "USING" not in step] == []
    for sql in (counting.DUE, counting.SINCE):
        (step,) = [step for step in plan(database, sql) if " run" in step]
        assert step.startswith("SEARCH run USING COVERING INDEX run_resting (state=? AND wake_at")
    assert plan(database, counting.ORPHANED)[-1].startswith("SEARCH run USING INDEX run_resting (state=? AND wake_at=?")


def test_few_statements_are_ever_prepared() -> None:
    """All of them fit into the connection's cache (1024), whatever the sizes of batches are."""
    sizes = sorted({length_for(count, fill=fill) for count in range(1, 2 * MAX_CHUNK) for fill in (True, False)})
    texts = {statement(kind, size) for kind in STATED for size in sizes} | {emptying(size) for size in sizes}
    assert sizes[-1] == MAX_CHUNK
    assert len(texts) < 900
    assert statement(RecordFact, 8) is statement(RecordFact, 8), "the cache is asked by the very same text"
    values = max(places(statement(kind, MAX_CHUNK)) for kind in STATED)
    assert values < 32_766, "the most values that SQLite binds to one statement by default"


def test_rounds_name_each_run_once_and_keep_the_order() -> None:
    rows = [(uid, number) for number, uid in enumerate("abacabad")]
    groups = rounds(EnterState, rows)
    assert [[uid for uid, _ in group] for group in groups] == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["a"]]
    assert all(group == sorted(group, key=lambda row: row[1]) for group in groups)
    assert rounds(RecordFact, rows) == [rows], "what is inserted may name a run often"


def test_whoever_waits_and_what_has_come_are_found_by_their_keys(database: sqlite3.Connection) -> None:
    earliest = plan(database, waiting.EARLIEST)
    assert "SEARCH event_key USING PRIMARY KEY (type=? AND key=? AND position>?)" in earliest
    assert "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)" in earliest
    told = plan(database, waiting.WAITING)
    assert told[0].startswith("SEARCH wait USING INDEX wait_for (type=? AND key=?)")
    assert "SEARCH run USING PRIMARY KEY (uid=?)" in told
    assert scanned(plan(database, waiting.TAKEN)) == set()
    assert plan(database, delivering.BY_REACTION)[0] == "SEARCH delivery USING PRIMARY KEY (reaction=?)"
    assert "delivery_done" in plan(database, delivering.FORGET_DONE)[0]


def test_the_traffic_is_counted_without_going_through_the_log_for_each_event(database: sqlite3.Connection) -> None:
    for sql in (seen.CAUSED, seen.STARTED):
        steps = plan(database, sql, [100])
        assert any(step.startswith("SEARCH cause USING AUTOMATIC") for step in steps), steps
    assert scanned(plan(database, seen.PUBLISHED, [100])) == set()
    assert "SEARCH event USING INTEGER PRIMARY KEY (rowid>?)" in plan(database, seen.PUBLISHED, [100])


@pytest.mark.parametrize(
    "sql",
    [pruning.RUNS, pruning.OPEN, pruning.INPUTS, pruning.RUN, pruning.FACTS, pruning.EARLIER, pruning.EXPECTED_PAGE,
     pruning.EXPECTED_ONE, pruning_log.EVENTS, pruning_log.THESE, pruning_log.DELIVERIES, pruning_log.TRIGGERS],
)  # fmt: skip
def test_pruning_walks_through_no_table(database: sqlite3.Connection, sql: str) -> None:
    assert scanned(plan(database, sql)) == set()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("table", TABLES_OF_PAYLOADS)
def test_payloads_of_a_conversation_walk_through_no_table(
    database: sqlite3.Connection, table: Table, first: bool
) -> None:
    assert scanned(plan(database, payloads.query(table, of_conversation=True, first=first))) <= {"cursor"}


def test_pruning_finds_open_runs_by_their_indexes(database: sqlite3.Connection) -> None:
    steps = " ".join(plan(database, pruning_log.OLDEST))
    assert "run USING INDEX run_owner" in steps and "run USING INDEX run_resting" in steps, steps
    assert "run USING PRIMARY KEY" not in steps

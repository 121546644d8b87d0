"""Pruning, forgetting and encrypting anew on tables with many rows: none of them is ever read as a whole.

Looked at in two ways: at the plan of each statement, on empty tables and on full ones; and at what the server has
counted when all of it was done.
"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from motet.model.clock import SYSTEM
from motet.model.identity import first_uid
from motet.runtime.forgetting import Forgetter
from motet.runtime.pruning import Pruner
from motet.store.open import store_at
from motet.store.payloads import TABLES, PayloadChange, Payloads
from motet.store.postgres import payloads, pruning, pruning_log
from tests.postgres.test_plans import plan, scanned

RUNS = 10_000
OLD = 1_000
PATIENCE_SECONDS = 20

STATEMENTS: dict[str, str] = {
    f"{module.__name__}.{name}": sql
    for module in (pruning, pruning_log, payloads)
    for name, sql in vars(module).items()
    if name.isupper() and not name.startswith("_") and isinstance(sql, str) and "motet." in sql
}
STATEMENTS |= {f"remove {number}": sql for number, sql in enumerate(pruning.REMOVE)}
STATEMENTS |= {
    f"payloads of {table}, {of_conversation}, {first}": payloads.query(
        table, of_conversation=of_conversation, first=first
    )
    for table in TABLES
    for of_conversation in (True, False)
    for first in (True, False)
}

# Along the partial indexes of what is open, once per pruning; a handful of keys.
WALKED = {"motet.store.postgres.pruning_log.OLDEST": {"run"}, "motet.store.postgres.payloads.SEALING": {"sealing"}}
KEYS = {
    "motet.store.postgres.pruning.OPEN": "run_conversation",
    "motet.store.postgres.pruning.RUNS": "run_pkey",
    "motet.store.postgres.pruning.LOCK": "run_pkey",
    "motet.store.postgres.pruning.FACTS": "history_pkey",
    "motet.store.postgres.pruning.EXPECTED_PAGE": "expected_pkey",
    "motet.store.postgres.pruning.TOMBSTONES": "tombstone_conversation",
    "motet.store.postgres.pruning_log.EVENTS": "event_pkey",
    "motet.store.postgres.pruning_log.DELIVERIES": "delivery_pkey",
    "payloads of history, True, True": "run_conversation",
    "payloads of event, True, True": "event_conversation",
    "payloads of delivery, True, True": "event_conversation",
    "payloads of run, False, False": "run_pkey",
}

FILL = (
    """INSERT INTO motet.run (uid, id, workflow, version, state, generation, epoch, input, conversation, created_at,
        started_at, ended_at, crashes, python, fingerprint, wake_at)
    SELECT $2 || lpad(n::text, 6, '0'), 'r' || n, 'shop/buy', 1,
        CASE WHEN n % 10 = 0 THEN 'waiting' ELSE 'completed' END, 1, 1, '{}', 'c' || n / 3, n, n,
        CASE WHEN n % 10 = 0 THEN NULL ELSE n + 5 END, 0, '3.11', 'f',
        CASE WHEN n % 10 = 0 THEN 9000000000000000 END FROM generate_series(1, $1::bigint) AS n""",
    """INSERT INTO motet.history (uid, generation, position, applied, op, operation_kind, kind, at, attempt, payload)
    SELECT uid, 1, p, 0, 'x#1', 'step', 'completed', 1, 1, '{}' FROM motet.run, generate_series(1, 2) AS p""",
    """INSERT INTO motet.event (position, id, source, type, subject, time, recorded_at, correlationid, data)
    SELECT n, 'e' || n, 'shop', 't' || n % 5, 'k' || n % 1000, n, n, 'c' || n / 3, '{}'
    FROM generate_series(1, $1::bigint) AS n""",
    """INSERT INTO motet.cursor (name, kind, position, definition, created_at, moved_at)
    SELECT 'shop/' || n, CASE WHEN n % 3 = 0 THEN 'expectation' ELSE 'reaction' END, $1, '{"events": []}', 0, 0
    FROM generate_series(1, 6) AS n""",
    """INSERT INTO motet.delivery (reaction, position, state, attempts, crashes, at)
    SELECT 'shop/' || 1 + n % 2, n, 'parked', 1, 0, 0 FROM generate_series(1, $1::bigint, 20) AS n""",
    """INSERT INTO motet.expected (expectation, key, position, state, event, conversation, armed_at, triggers, early)
    SELECT 'shop/3', 'k' || n, n, CASE WHEN n % 10 = 0 THEN 'open' ELSE 'met' END, 'e', 'c' || n / 3, n, 1, 0
    FROM generate_series(1, $1::bigint) AS n""",
    "INSERT INTO motet.inbox SELECT uid, 'k', 'cancel', '{}', 1 FROM motet.run WHERE ended_at IS NULL",
    """INSERT INTO motet.tombstone SELECT 'p' || n, 'v' || n, 'w', 1, 'completed', 1, 'd' || n, 1, 1, 1, 'x'
    FROM generate_series(1, $1::bigint) AS n""",
    "INSERT INTO motet.event_key SELECT type, subject, position FROM motet.event WHERE type = 't1'",
)  # fmt: skip
OTHERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
MARK = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'mark'"
Counts = dict[str, tuple[int, int]]
LARGE = ("run", "history", "event", "expected", "event_key")


async def fill(server: asyncpg.Connection) -> None:
    """Ten thousand runs with all that comes of them, a tenth of them open."""
    for sql in FILL:
        values = (RUNS, first_uid(1)[:18]) if "$2" in sql else (RUNS,) if "$1" in sql else ()
        await server.execute(sql, *values)
    await server.execute("ANALYZE")


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
async def test_every_statement_goes_by_a_key(server: asyncpg.Connection, full: bool) -> None:
    if full:
        await fill(server)
    for name, sql in STATEMENTS.items():
        steps = await plan(server, sql)
        assert scanned(steps) == WALKED.get(name, set()), f"{name}:\n{steps}"
        assert f"using {KEYS.get(name, '')}" in steps or name not in KEYS, f"{name}:\n{steps}"


async def test_none_of_all_this_reads_a_large_table(server: asyncpg.Connection, postgres_address: str) -> None:
    filling = await asyncpg.connect(postgres_address)
    await fill(filling)
    await filling.close()
    await until_counted(server, postgres_address)
    before = await counted(server)
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=False)
    # Of three runs of a conversation none is open, unless one of them is a tenth one.
    assert (await Pruner(store, SYSTEM, OLD).count()).runs > OLD // 2
    pruned = await Pruner(store, SYSTEM, OLD).prune()
    assert pruned.runs > OLD // 2 and pruned.events > OLD // 2 and pruned.expected > OLD // 2
    forgotten = await Forgetter(store).forget("c1001", force=True)
    assert (forgotten.runs, forgotten.events) == (3, 3)
    assert isinstance(store, Payloads)
    for table in TABLES:  # as who encrypts anew: page after page
        first = await store.payloads(table, None, None, 100)
        second = await store.payloads(table, None, first[-1].key, 100)
        same = [PayloadChange(row.key, row.values, row.values) for row in second]
        assert await store.replace_payloads(table, same) == len(second) > 0
    await store.close()
    await until_counted(server, postgres_address)
    after = await counted(server)
    assert all(after[table][1] > before[table][1] for table in LARGE)
    assert {table: after[table][0] - before[table][0] for table in LARGE} == dict.fromkeys(LARGE, 0)


async def until_counted(server: asyncpg.Connection, address: str) -> None:
    """Until the server has counted what was done on every connection that was closed.

    A connection's work is counted when its process ends, which is after the client has left; before PostgreSQL 15 it is
    then sent to a process that counts, in a queue: what is sent last, by a connection that reads a table of its own, is
    counted after all else.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await server.fetchval(OTHERS):
            await asyncio.sleep(0)
        await server.execute("CREATE TABLE IF NOT EXISTS public.mark ()")
        seen = await server.fetchval(MARK)
        last = await asyncpg.connect(address)
        await last.execute("SELECT FROM public.mark")
        await last.close()
        while await server.fetchval(MARK) == seen:
            await server.execute("SELECT pg_stat_clear_snapshot()")


async def counted(server: asyncpg.Connection) -> Counts:
    """How often each table was read as a whole, and by an index."""
    rows = await server.fetch(
        "SELECT relname, seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = ANY ($1::text[])", LARGE
    )
    return {row[0]: (row[1], row[2]) for row in rows}

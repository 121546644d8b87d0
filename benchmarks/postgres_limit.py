"""The raw limit on PostgreSQL: the very rows that runs left, inserted again by bare statements, 500 runs at a time.

One `INSERT ... SELECT FROM unnest(...)` per table and transaction, prepared once, in a fresh database with the same
schema and settings, over one connection; the arrays are made before the clock runs. It is optimistic in the same ways
as the limit on SQLite: each run is written once, in its final state, in order, and committed once.
"""

import asyncio
import time
from typing import Any

import asyncpg

from benchmarks.frame import Found
from benchmarks.purchase import shop

GROUP = 500
MOST_RUNS = 25_000
SCHEMA = "motet"

_RUNS = "SELECT uid FROM {schema}.run WHERE state = 'completed' ORDER BY uid LIMIT {most}"
_ROWS = {
    "run": "SELECT t.uid AS run_uid, t.* FROM {schema}.run t ORDER BY t.uid",
    "history": "SELECT t.uid AS run_uid, t.* FROM {schema}.history t ORDER BY t.uid, t.generation, t.position",
    "event": "SELECT t.causationid AS run_uid, t.* FROM {schema}.event t ORDER BY t.position",
}

Columns = dict[str, list[tuple[str, str]]]
Groups = list[dict[str, list[list[Any]]]]
"""For each 500 runs, by table: one array for each column."""


async def columns_of(connection: asyncpg.Connection) -> Columns:
    """Name and type of each column, in order."""
    found: Columns = {}
    for table in _ROWS:
        rows = await connection.fetch(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            f"{SCHEMA}.{table}",
        )
        found[table] = [(name, kind) for name, kind in rows]
    return found


async def dump(address: str) -> tuple[Groups, Columns, int]:
    """Groups of 500 ended runs with all their rows; and how many rows there are."""
    connection = await asyncpg.connect(address)
    try:
        columns = await columns_of(connection)
        ended = [uid for (uid,) in await connection.fetch(_RUNS.format(schema=SCHEMA, most=MOST_RUNS))]
        group_of = {uid: index // GROUP for index, uid in enumerate(ended)}
        whole = len(ended) // GROUP
        groups: Groups = [{table: [[] for _ in columns[table]] for table in _ROWS} for _ in range(whole)]
        count = 0
        for table, query in _ROWS.items():
            for uid, *values in await connection.fetch(query.format(schema=SCHEMA)):
                index = group_of.get(uid, whole)
                if index < whole:
                    count += 1
                    for array, value in zip(groups[index][table], values, strict=True):
                        array.append(value)
    finally:
        await connection.close()
    return groups, columns, count


async def insert(address: str, groups: Groups, columns: Columns) -> list[float]:
    """The seconds that each transaction took."""
    connection = await asyncpg.connect(address)
    statements = {}
    for table, described in columns.items():
        names = ", ".join(f'"{name}"' for name, _ in described)
        arrays = ", ".join(f"${number}::{kind}[]" for number, (_, kind) in enumerate(described, 1))
        statements[table] = await connection.prepare(
            f"INSERT INTO {SCHEMA}.{table} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our own schema
        )
    took: list[float] = []
    for group in groups:
        began = time.perf_counter()
        async with connection.transaction():
            for table, arrays in group.items():
                await statements[table].fetch(*arrays)
        took.append(time.perf_counter() - began)
    for table in columns:
        count = await connection.fetchval(f"SELECT count(*) FROM {SCHEMA}.{table}")  # noqa: S608 - our own schema
        assert count == sum(len(group[table][0]) for group in groups), f"rows of {table} are lost"
    await connection.close()
    return took


async def raw(given: Found) -> Found:
    """The probe: `source`, the database that runs left; `target`, an empty one. Runs/s."""
    groups, columns, rows = await dump(given["source"])
    if not groups:
        raise ValueError(f"fewer than {GROUP} runs were left to insert again")
    app, _ = shop(given["target"])
    async with app.connect():
        pass  # makes the schema
    await asyncio.sleep(0)
    took = await insert(given["target"], groups, columns)
    runs = len(groups) * GROUP
    return {
        "runs": runs,
        "rows_per_run": rows / runs,
        "unnest": runs / sum(took),
        "p50_ms": sorted(took)[len(took) // 2] * 1000,
    }

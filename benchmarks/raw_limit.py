"""The raw limit: the very rows that the runs left, inserted again by bare statements, 500 runs per transaction.

The fresh file has the same schema and pragmas. Rows are read into memory first; what is timed is to bind, insert and
commit them. Nothing else happens in the process: no event loop, no second thread. The log is not checkpointed while
the clock runs, which the store must do under load, so the limit is rather too high than too low. It is
optimistic in another way: a run's row comes in its final state and in order, while the store inserts it, updates it,
and commits four times per run.
"""

import itertools
import sqlite3
import time
from collections.abc import Iterator

import msgspec

from benchmarks.frame import Found
from motet.store.sqlite.connection import connect

GROUP = 500
MOST_RUNS = 25_000
CHUNK = 256  # rows of one VALUES list; 128 to 512 make no difference that can be measured

Rows = list[tuple[object, ...]]
Group = dict[str, Rows]
Columns = dict[str, list[str]]

_RUN_OF = {
    "run": "SELECT uid, run.* FROM run ORDER BY uid",
    "history": "SELECT uid, history.* FROM history ORDER BY uid, generation, position",
    "event": "SELECT causationid, event.* FROM event ORDER BY position",
}


def dump(path: str) -> tuple[list[Group], Columns]:
    """Groups of 500 ended runs with all their rows, and the columns of each table."""
    with sqlite3.connect(path) as source:
        ended = source.execute("SELECT uid FROM run WHERE state = 'completed' ORDER BY uid LIMIT ?", [MOST_RUNS])
        group_of = {uid: index // GROUP for index, (uid,) in enumerate(ended)}
        whole = len(group_of) // GROUP
        groups: list[Group] = [{table: [] for table in _RUN_OF} for _ in range(whole)]
        columns: Columns = {}
        for table, query in _RUN_OF.items():
            cursor = source.execute(query)
            columns[table] = [name for name, *_ in cursor.description[1:]]
            for uid, *row in cursor:
                index = group_of.get(uid, whole)
                if index < whole:
                    groups[index][table].append(tuple(row))
    source.close()
    return groups, columns


def by_values(connection: sqlite3.Connection, table: str, columns: list[str], rows: Rows) -> None:
    """One VALUES list per statement, of up to 256 rows."""
    one = "(" + ", ".join("?" * len(columns)) + ")"
    done = 0
    while done < len(rows):
        size = min(CHUNK, 1 << ((len(rows) - done).bit_length() - 1))
        connection.execute(
            f"INSERT INTO {table} VALUES {', '.join([one] * size)}",  # noqa: S608 - our own schema
            list(itertools.chain.from_iterable(rows[done : done + size])),
        )
        done += size


def by_json(connection: sqlite3.Connection, table: str, columns: list[str], rows: Rows) -> None:
    """One statement per table, the rows as one JSON array."""
    fields = ", ".join(f"value ->> {index}" for index in range(len(columns)))
    text = msgspec.json.encode(rows).decode()
    connection.execute(f"INSERT INTO {table} SELECT {fields} FROM json_each(?)", [text])  # noqa: S608 - our schema


def by_many(connection: sqlite3.Connection, table: str, columns: list[str], rows: Rows) -> None:
    """`executemany`: quick here, where no other thread wants the interpreter."""
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own schema


FORMS = {"values": by_values, "json_each": by_json, "executemany": by_many}


def schema_of(path: str) -> str:
    """The tables and indexes of a store, as SQL."""
    with sqlite3.connect(path) as source:
        found = source.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND sql IS NOT NULL")
        script = "; ".join(sql for (sql,) in found)
    source.close()
    return script + ";"


def _insert(form: str, target: str, schema: str, groups: list[Group], columns: Columns) -> Iterator[float]:
    """Yields the seconds that each transaction took."""
    connection = connect(target)
    connection.executescript(schema)
    insert = FORMS[form]
    for group in groups:
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for table, rows in group.items():
            insert(connection, table, columns[table], rows)
        connection.execute("COMMIT")
        yield time.perf_counter() - began
    for table in columns:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own schema
        assert count == sum(len(group[table]) for group in groups), f"{form} has lost rows of {table}"
    connection.close()


async def raw(given: Found) -> Found:
    """The probe: `source`, the file that runs left; `target`, the beginning of fresh paths. Runs/s by form."""
    groups, columns = dump(given["source"])
    if not groups:
        raise ValueError(f"fewer than {GROUP} runs were left to insert again")
    rows = sum(len(rows) for group in groups for rows in group.values())
    found: Found = {"runs": len(groups) * GROUP, "rows_per_run": rows / (len(groups) * GROUP)}
    schema = schema_of(given["source"])
    for form in FORMS:
        took = list(_insert(form, f"{given['target']}.{form}", schema, groups, columns))
        found[form] = GROUP * len(took) / sum(took)
    return found

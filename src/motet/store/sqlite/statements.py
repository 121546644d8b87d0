"""One statement per kind of mutation and group of rows, made from the records' own fields.

Rows are bound as one `VALUES` list. Its length is one of a few, so that few statements are ever prepared; what is left
of it is filled with the last row again, since to write a mutation twice is to write it once. Measured beside a busy
event loop: each statement gives up the interpreter lock three times and waits for it again, so few are better than
many; `executemany` does so for each row; `json_each` needs one statement too, but three times the work per row.

Invariant: a group of updates names each run once (`rounds` sees to it), for of several rows that fit, SQLite's
`UPDATE ... FROM` takes any.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from motet.store import mutations as m
from motet.store.changes import REFUSED, RUN_CHANGES

MAX_CHUNK = 512

Rows = Sequence[tuple[Any, ...]]

_INSERTS: dict[type, str] = {m.RecordFact: "history", m.AppendEvent: "event"}

# By kind: what is set, and where.
_UPDATES: dict[type, tuple[str, str]] = {
    **RUN_CHANGES,
    m.MoveCursor: (
        """position = max(cursor.position, v.position), delivered = max(cursor.delivered, v.delivered),
        failed = max(cursor.failed, v.failed), crashes = v.crashes, moved_at = v.at""",
        "cursor.epoch = v.epoch",
    ),
}

_KEPT = m.KeepExpected._fields[:-1]
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _KEPT[3:])
_THIS = "expected.expectation = v.expectation AND expected.key = v.key AND expected.position = v.position"

_EXPECTED: dict[type, str] = {
    m.KeepExpected: f"""INSERT INTO expected ({", ".join(_KEPT)}) SELECT {", ".join(_KEPT)} FROM v
        WHERE EXISTS (SELECT 1 FROM cursor WHERE cursor.name = v.expectation AND cursor.epoch = v.epoch)
        ON CONFLICT (expectation, key, position) DO UPDATE SET {_CHANGED}""",
    m.MissExpected: f"""UPDATE expected SET state = 'missed', due = v.due, missed_at = v.missed_at
        FROM v WHERE {_THIS} AND expected.state = 'open'""",
}

_ROW = m.KeepDelivery._fields[:-1]
_DELIVERY: dict[type, str] = {
    m.KeepDelivery: f"""INSERT INTO delivery ({", ".join(_ROW)}) SELECT {", ".join(_ROW)} FROM v
        WHERE EXISTS (SELECT 1 FROM cursor WHERE cursor.name = v.reaction AND cursor.epoch = v.epoch)
        ON CONFLICT (reaction, position) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _ROW[2:])}""",
    # Only what the position has passed may be forgotten (`delivering.forget_done`): an heir reads the rest anew.
    m.DropDelivery: """UPDATE delivery SET state = 'done' WHERE (reaction, position) IN (SELECT v.reaction, v.position
        FROM v WHERE EXISTS (SELECT 1 FROM cursor WHERE cursor.name = v.reaction AND cursor.epoch = v.epoch))""",
}


def _fields(kind: type) -> tuple[str, ...]:
    fields: tuple[str, ...] = vars(kind)["_fields"]
    return fields


def _values(kind: type, count: int) -> str:
    one = "(" + ", ".join("?" * len(_fields(kind))) + ")"
    return ", ".join([one] * count)


def _given(kind: type, count: int) -> str:
    return f"WITH v ({', '.join(_fields(kind))}) AS (VALUES {_values(kind, count)}) "


@cache
def statement(kind: type, count: int) -> str:
    """The SQL that applies `count` mutations of one kind."""
    fields = ", ".join(_fields(kind))
    if kind is m.StartRun:
        # The first value is bound once for all rows: the log's head, from where the runs may wait for events.
        row = "(?1, " + ", ".join("?" * len(_fields(kind))) + ")"
        return f"INSERT INTO run (since, {fields}) VALUES {', '.join([row] * count)} ON CONFLICT DO NOTHING"
    if kind in _INSERTS:
        return f"INSERT INTO {_INSERTS[kind]} ({fields}) VALUES {_values(kind, count)} ON CONFLICT DO NOTHING"
    given = _given(kind, count)
    if kind in _EXPECTED:
        return given + _EXPECTED[kind]
    if kind in _DELIVERY:
        return given + _DELIVERY[kind]
    if kind is m.PutInbox:
        # Nobody would ever read what is said to a run that has ended.
        return (
            f"{given}INSERT INTO inbox ({fields}) SELECT {fields} FROM v WHERE EXISTS "
            "(SELECT 1 FROM run WHERE run.uid = v.uid AND run.ended_at IS NULL) ON CONFLICT DO NOTHING"
        )
    if kind is m.TakeInbox:
        # Not `IN v` nor `IN (VALUES ...)`: for those SQLite walks the whole table.
        return f"{given}DELETE FROM inbox WHERE (uid, key) IN (SELECT uid, key FROM v)"
    change, where = _UPDATES[kind]
    table, key = ("cursor", "name") if kind is m.MoveCursor else ("run", "uid")
    return f"{given}UPDATE {table} SET {change} FROM v WHERE {table}.{key} = v.{key} AND {where}"


@cache
def emptying(count: int) -> str:
    """The SQL that forgets what waits for runs that end."""
    return f"DELETE FROM inbox WHERE uid IN (VALUES {', '.join(['(?)'] * count)})"


@cache
def refusing(kind: type, count: int) -> str:
    """The SQL that finds, of `count` changes of state, one that was refused: the id, its state, what it may not be."""
    return (
        f"{_given(kind, count)}SELECT run.id, run.state, v.state FROM v CROSS JOIN run ON run.uid = v.uid "
        f"WHERE {REFUSED[kind]} LIMIT 1"
    )


@cache
def contradicting(count: int) -> str:
    """The SQL that finds, after `count` facts, one whose position holds another: its uid, generation and position."""
    same = " AND ".join(f"history.{name} IS v.{name}" for name in _fields(m.RecordFact)[3:])
    return (
        f"{_given(m.RecordFact, count)}SELECT v.uid, v.generation, v.position FROM v CROSS JOIN history "
        "ON history.uid = v.uid AND history.generation = v.generation AND history.position = v.position "
        f"WHERE NOT ({same}) LIMIT 1"
    )


@cache
def not_owned(kind: type, count: int) -> str:
    """The SQL that finds, of `count` records of deliveries, one whose reaction has changed hands: its name."""
    return (
        f"{_given(kind, count)}SELECT v.reaction FROM v LEFT JOIN cursor ON cursor.name = v.reaction "
        "WHERE cursor.epoch IS NOT v.epoch LIMIT 1"
    )


@cache
def not_missed(count: int) -> str:
    """The SQL that finds, of `count` misses, one that could not be recorded: the expectation, the key, the state."""
    return (
        f"{_given(m.MissExpected, count)}SELECT v.expectation, v.key, expected.state FROM v LEFT JOIN expected "
        f"ON {_THIS} WHERE expected.state IS NOT 'missed' OR expected.missed_at IS NOT v.missed_at LIMIT 1"
    )


def refused(connection: sqlite3.Connection, kind: type, rows: Rows) -> str | None:
    """Why one of these mutations, which did not all change something, may not be; None if all is well."""
    if kind is m.RecordFact:
        for found in in_chunks(connection, contradicting, rows):
            for uid, generation, position in found:
                return f"position {position} of run {uid} (generation {generation}) holds another fact"
    elif kind is m.MissExpected:
        for found in in_chunks(connection, not_missed, rows):
            for expectation, key, state in found:
                return f"what expectation {expectation} expects for key {key!r} is {state or 'not there'}, not open"
    elif kind in _DELIVERY:
        return _changed_hands(connection, kind, rows)
    elif kind in REFUSED:
        for found in in_chunks(connection, lambda count: refusing(kind, count), rows):
            for id, before, after in found:
                return f"run '{id}' is {before} and cannot become {after}"
    return None


def _changed_hands(connection: sqlite3.Connection, kind: type, rows: Rows) -> str | None:
    for found in in_chunks(connection, lambda count: not_owned(kind, count), rows):
        for (reaction,) in found:
            return f"reaction {reaction} has changed hands"
    return None


def apply(connection: sqlite3.Connection, kind: type, rows: Rows, first: tuple[Any, ...] = ()) -> int:
    """Apply mutations of one kind; returns how many rows were changed.

    Args:
        first: values to bind before those of the rows.
    """
    fill = kind is not m.AppendEvent  # the log has no index by which to know an event again
    before = connection.total_changes  # a cursor's `rowcount` knows nothing of statements that begin with WITH
    in_chunks(connection, lambda count: statement(kind, count), rows, fill, first)
    return connection.total_changes - before


def length_for(count: int, *, fill: bool) -> int:
    """The list's length for so many rows, at least with `fill`, else at most: three binary digits, then zeros."""
    zeros = max(count.bit_length() - 3, 0)
    return min(MAX_CHUNK, (-(-count >> zeros) if fill else count >> zeros) << zeros)


def in_chunks(
    connection: sqlite3.Connection, sql: Callable[[int], str], rows: Rows, fill: bool = True,
    first: tuple[Any, ...] = (),
) -> list[sqlite3.Cursor]:  # fmt: skip
    """Run one statement per chunk of rows, each with the rows' values bound in order.

    Args:
        fill: the last row may be written again, to fill the list.
        first: values to bind before those of the rows.
    """
    done = 0
    cursors: list[sqlite3.Cursor] = []
    while done < len(rows):
        length = length_for(len(rows) - done, fill=fill)
        chunk = rows[done : done + length]
        done += len(chunk)
        values = [*first, *chain.from_iterable(chunk)]
        values += chunk[-1] * (length - len(chunk))
        cursors.append(connection.execute(sql(length), values))
    return cursors

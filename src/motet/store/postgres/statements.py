"""One statement per kind of mutation and batch, made from the records' own fields: rows travel as one array per field.

Invariant: a group of updates names each run once (`rounds` sees to it), for of several rows that fit, PostgreSQL's
`UPDATE ... FROM` takes any.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_type_hints

from motet.store import mutations as m
from motet.store.changes import REFUSED, RUN_CHANGES
from motet.store.postgres.link import Link

Rows = Sequence[tuple[Any, ...]]

_INSERTS: dict[type, str] = {m.StartRun: "run", m.RecordFact: "history"}

_MOVE_CURSOR = """UPDATE motet.cursor SET position = greatest(cursor.position, v.position),
    delivered = greatest(cursor.delivered, v.delivered), failed = greatest(cursor.failed, v.failed),
    crashes = v.crashes, moved_at = v.at FROM v WHERE cursor.name = v.name AND cursor.epoch = v.epoch"""

# Whoever changes an epoch locks the cursor's row FOR UPDATE; who merely moves it does not have to wait for these.
_MINE = """mine AS MATERIALIZED (SELECT name, epoch FROM motet.cursor
    WHERE name = ANY (SELECT {name} FROM v) ORDER BY name FOR KEY SHARE)"""

_KEPT = m.KeepExpected._fields[:-1]
_THIS = "expected.expectation = v.expectation AND expected.key = v.key AND expected.position = v.position"
_ROW = m.KeepDelivery._fields[:-1]


def _overwrite(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in names)


_EDGES: dict[type, str] = {
    m.KeepExpected: f""", {_MINE.format(name="expectation")}
        INSERT INTO motet.expected ({", ".join(_KEPT)})
        SELECT {", ".join(f"v.{name}" for name in _KEPT)} FROM v JOIN mine ON mine.name = v.expectation
        AND mine.epoch = v.epoch ON CONFLICT (expectation, key, position) DO UPDATE SET {_overwrite(_KEPT[3:])}""",
    m.MissExpected: f""" UPDATE motet.expected SET state = 'missed', due = v.due, missed_at = v.missed_at
        FROM v WHERE {_THIS} AND expected.state || '' = 'open'""",  # by the key, not along all that is open
    m.KeepDelivery: f""", {_MINE.format(name="reaction")}
        INSERT INTO motet.delivery ({", ".join(_ROW)})
        SELECT {", ".join(f"v.{name}" for name in _ROW)} FROM v JOIN mine ON mine.name = v.reaction
        AND mine.epoch = v.epoch ON CONFLICT (reaction, position) DO UPDATE SET {_overwrite(_ROW[2:])}""",
    # Only what the position has passed may be forgotten (`delivering.forget_done`): an heir reads the rest anew.
    m.DropDelivery: f""", {_MINE.format(name="reaction")}
        UPDATE motet.delivery SET state = 'done' FROM v JOIN mine ON mine.name = v.reaction AND mine.epoch = v.epoch
        WHERE delivery.reaction = v.reaction AND delivery.position = v.position""",
    m.MoveCursor: " " + _MOVE_CURSOR,
}


@cache
def fields(kind: type) -> tuple[str, ...]:
    """By name."""
    names: tuple[str, ...] = vars(kind)["_fields"]
    return names


@cache
def types(kind: type) -> tuple[str, ...]:
    """What PostgreSQL calls the types of the fields."""
    hints = get_type_hints(kind)
    return tuple(_type_of(hints[name]) for name in fields(kind))


def _type_of(hint: Any) -> str:
    said = {int: "bigint", bool: "boolean"}
    return said.get(hint) or next((said[kind] for kind in getattr(hint, "__args__", ()) if kind in said), "text")


@cache
def given(kind: type, *, numbered: bool = False) -> str:
    """The rows as `v`, in a FROM clause; `numbered`: with their place among them as `number`."""
    arrays = ", ".join(f"${number}::{type}[]" for number, type in enumerate(types(kind), 1))
    names = ", ".join((*fields(kind), "number") if numbered else fields(kind))
    return f"unnest({arrays}){' WITH ORDINALITY' if numbered else ''} AS v ({names})"


def with_given(kind: type) -> str:
    """The rows as `v`, once for all of the statement that follows."""
    return f"WITH v AS (SELECT * FROM {given(kind)})"


@cache
def statement(kind: type) -> str:
    """The SQL that applies mutations of one kind."""
    names = ", ".join(fields(kind))
    values = ", ".join(f"v.{name}" for name in fields(kind))
    if kind is m.StartRun:
        # From the log's head as it is now the run may wait for events.
        head = "coalesce((SELECT max(position) FROM motet.event), 0)"
        return (
            f"INSERT INTO motet.run (since, {names}) SELECT {head}, {values} FROM {given(kind)} ON CONFLICT DO NOTHING"
        )
    if kind in _INSERTS:
        return f"INSERT INTO motet.{_INSERTS[kind]} ({names}) SELECT {values} FROM {given(kind)} ON CONFLICT DO NOTHING"
    if kind in _EDGES:
        return with_given(kind) + _EDGES[kind]
    if kind is m.PutInbox:
        # Nobody would ever read what is said to a run that has ended.
        return (
            f"INSERT INTO motet.inbox ({names}) SELECT {values} FROM {given(kind)} WHERE EXISTS "
            "(SELECT 1 FROM motet.run WHERE run.uid = v.uid AND run.ended_at IS NULL) ON CONFLICT DO NOTHING"
        )
    if kind is m.TakeInbox:
        return f"DELETE FROM motet.inbox USING {given(kind)} WHERE inbox.uid = v.uid AND inbox.key = v.key"
    if kind is m.EndRun:
        change, where = RUN_CHANGES[kind]
        return f"""{with_given(kind)}, ended AS (UPDATE motet.run SET {change} FROM v WHERE run.uid = v.uid AND {where}
            RETURNING 1), emptied AS (DELETE FROM motet.inbox USING v WHERE inbox.uid = v.uid)
            SELECT (SELECT count(*) FROM ended)"""
    change, where = RUN_CHANGES[kind]
    return f"UPDATE motet.run SET {change} FROM {given(kind)} WHERE run.uid = v.uid AND {where}"


def columns(kind: type, rows: Rows) -> list[Sequence[Any]]:
    """The rows' values, field by field, to be given to `statement`."""
    return [*zip(*rows, strict=True)] if rows else [()] * len(fields(kind))


async def apply(link: Link, kind: type, rows: Rows) -> int:
    """Apply mutations of one kind; returns how many rows were changed."""
    if kind is m.EndRun:
        return int(await link.value(statement(kind), *columns(kind, rows)))
    return await link.do(statement(kind), *columns(kind, rows))


@cache
def refusing(kind: type) -> str:
    """The SQL that finds, of changes of state, one that was refused: the id, its state, what it may not be."""
    return (
        f"SELECT run.id, run.state, v.state FROM {given(kind)} JOIN motet.run ON run.uid = v.uid "
        f"WHERE {REFUSED[kind]} LIMIT 1"
    )


@cache
def contradicting() -> str:
    """The SQL that finds, of facts, one whose position holds another: its uid, generation and position."""
    same = " AND ".join(f"history.{name} IS NOT DISTINCT FROM v.{name}" for name in fields(m.RecordFact)[3:])
    return (
        f"SELECT v.uid, v.generation, v.position FROM {given(m.RecordFact)} JOIN motet.history "
        "ON history.uid = v.uid AND history.generation = v.generation AND history.position = v.position "
        f"WHERE NOT ({same}) LIMIT 1"
    )


@cache
def not_owned(kind: type) -> str:
    """The SQL that finds, of records of deliveries, one whose reaction has changed hands: its name."""
    return (
        f"SELECT v.reaction FROM {given(kind)} LEFT JOIN motet.cursor ON cursor.name = v.reaction "
        "WHERE cursor.epoch IS DISTINCT FROM v.epoch LIMIT 1"
    )


@cache
def not_missed() -> str:
    """The SQL that finds, of misses, one that could not be recorded: the expectation, the key, the state."""
    return (
        f"SELECT v.expectation, v.key, expected.state FROM {given(m.MissExpected)} LEFT JOIN motet.expected "
        f"ON {_THIS} WHERE expected.state IS DISTINCT FROM 'missed' OR expected.missed_at IS DISTINCT FROM v.missed_at "
        "LIMIT 1"
    )


async def refused(link: Link, kind: type, rows: Rows) -> str | None:
    """Why one of these mutations, which did not all change something, may not be; None if all is well."""
    values = columns(kind, rows)
    if kind is m.RecordFact:
        if row := await link.row(contradicting(), *values):
            uid, generation, position = row
            return f"position {position} of run {uid} (generation {generation}) holds another fact"
    elif kind is m.MissExpected:
        if row := await link.row(not_missed(), *values):
            expectation, key, state = row
            return f"what expectation {expectation} expects for key {key!r} is {state or 'not there'}, not open"
    elif kind is m.KeepDelivery or kind is m.DropDelivery:
        if row := await link.row(not_owned(kind), *values):
            return f"reaction {row[0]} has changed hands"
    elif kind in REFUSED and (row := await link.row(refusing(kind), *values)):
        id, before, after = row
        return f"run '{id}' is {before} and cannot become {after}"
    return None

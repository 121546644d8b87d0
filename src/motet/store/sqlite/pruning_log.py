"""Removing old events: how far the log may go, and which of its events somebody still needs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from motet.model.clock import Micros
from motet.store.retention import EventLimits, EventsPage, Holder
from motet.store.sqlite.following import place_of
from motet.store.sqlite.pruning import Conversations

EVENTS = """SELECT position, type, subject, recipient, correlationid FROM event WHERE position > ? AND position <= ?
    ORDER BY position LIMIT ?"""
THESE = """SELECT position, type, subject, recipient, correlationid FROM event
    WHERE position IN (SELECT value FROM json_each(?)) ORDER BY position"""
CURSORS = "SELECT kind, name, position, paused FROM cursor WHERE position < ? ORDER BY position, name"
FLOOR = "SELECT min(position) FROM cursor"
DELIVERIES = """SELECT delivery.position FROM json_each(?1) AS reaction CROSS JOIN delivery
    ON delivery.reaction = reaction.value AND delivery.position BETWEEN ?2 AND ?3"""
TRIGGERS = """SELECT expected.position FROM json_each(?1) AS one CROSS JOIN json_each(?2) AS subject CROSS JOIN expected
    INDEXED BY expected_unsettled ON expected.expectation = one.value AND expected.key = subject.value
    WHERE expected.state IN ('early', 'open', 'missed') AND expected.state = 'open'"""
# What open runs might wait for: types that some run has waited for, and those that workflows say they wait for. These
# stand anywhere in an entry of the catalog; where the source does not name one, its text does no harm: it is no type.
WAITED = "SELECT type FROM waited_type"
DECLARED = """SELECT DISTINCT coalesce(json_extract(catalog.data, item.path || '.name'),
    json_extract(catalog.data, item.path || '.text'))
    FROM catalog CROSS JOIN json_tree(catalog.data) AS item WHERE item.key = 'kind' AND item.atom = 'wait'"""
OLDEST = """SELECT id, since FROM (
    SELECT id, since FROM (SELECT id, since FROM run WHERE owner IS NOT NULL ORDER BY since LIMIT 1)
    UNION ALL
    SELECT id, since FROM (SELECT id, since FROM run WHERE owner IS NULL AND ended_at IS NULL ORDER BY since LIMIT 1)
) ORDER BY since LIMIT 1"""

_Row = tuple[int, str, str | None, str | None, str]


def event_limits(connection: sqlite3.Connection, before: Micros) -> EventLimits:
    """The newest event always stays: from it recorded time goes on."""
    (newest,) = connection.execute("SELECT coalesce(max(position), 0) FROM event").fetchone()
    old = min(place_of(connection, before), newest - 1)
    until = min(old, _floor(connection, old))
    behind = connection.execute(CURSORS, (old,)).fetchall()
    holders = [Holder(kind, name, position, bool(paused)) for kind, name, position, paused in behind]
    awaited = _awaited(connection)
    awaited_until = until
    oldest = connection.execute(OLDEST).fetchone() if awaited else None
    if oldest is not None and oldest[1] < old:
        awaited_until = min(until, oldest[1])
        holders.append(Holder("run", *oldest))
    held = connection.execute("SELECT count(*) FROM event WHERE position > ? AND position <= ?", (until, old))
    return EventLimits(max(until, 0), held.fetchone()[0], awaited, max(awaited_until, 0), tuple(holders))


def old_events(connection: sqlite3.Connection, limits: EventLimits, after: int, limit: int) -> EventsPage:
    rows: list[_Row] = connection.execute(EVENTS, (after, limits.until, limit)).fetchall()
    found = _unneeded(connection, limits, rows)
    return EventsPage([row[0] for row in found], len(rows) - len(found), rows[-1][0] if len(rows) == limit else None)


def prune_events(connection: sqlite3.Connection, limits: EventLimits, positions: Sequence[int]) -> int:
    """A replay may have moved a reader back meanwhile, and types be waited for that were not."""
    rows: list[_Row] = connection.execute(THESE, (json.dumps(list(positions)),)).fetchall()
    limits = limits._replace(until=min(limits.until, _floor(connection, limits.until)))
    new = {type for (type,) in connection.execute(WAITED)} - limits.awaited
    gone = [row for row in _unneeded(connection, limits, rows) if row[1] not in new]
    keys = [(row[1], key, row[0]) for row in gone for key in {row[2], row[3]} if key is not None]
    connection.executemany("DELETE FROM event_key WHERE type = ? AND key = ? AND position = ?", keys)
    connection.execute(
        "DELETE FROM event WHERE position IN (SELECT value FROM json_each(?))", (json.dumps([row[0] for row in gone]),)
    )
    return len(gone)


def _floor(connection: sqlite3.Connection, otherwise: int) -> int:
    """What all readers have passed."""
    (position,) = connection.execute(FLOOR).fetchone()
    return otherwise if position is None else int(position)


def _awaited(connection: sqlite3.Connection) -> frozenset[str]:
    """A wait for one of several names them all: `order.paid|order.cancelled`."""
    declared = [name for (name,) in connection.execute(DECLARED) if name]
    waited = [name for (name,) in connection.execute(WAITED)]
    return frozenset([*waited, *(one for name in declared for one in name.split("|"))])


def _unneeded(connection: sqlite3.Connection, limits: EventLimits, rows: Sequence[_Row]) -> list[_Row]:
    if not rows:
        return []
    conversations = Conversations(connection)
    needed = _needed(connection, rows)
    return [
        row
        for row in rows
        if row[0] <= (limits.awaited_until if row[1] in limits.awaited else limits.until)
        and row[0] not in needed
        and not conversations.is_open(row[4])
    ]


def _needed(connection: sqlite3.Connection, rows: Sequence[_Row]) -> set[int]:
    """The positions of those that deliveries, dead letters or open expectations refer to."""
    names = connection.execute("SELECT name, kind FROM cursor").fetchall()
    reactions = json.dumps([name for name, kind in names if kind == "reaction"])
    expectations = json.dumps([name for name, kind in names if kind == "expectation"])
    subjects = json.dumps(sorted({row[2] for row in rows if row[2] is not None}))
    delivered = connection.execute(DELIVERIES, (reactions, rows[0][0], rows[-1][0]))
    triggers = connection.execute(TRIGGERS, (expectations, subjects))
    return {position for (position,) in [*delivered, *triggers]}

"""Runs that wait for events, and the events that come for them; each looks for the other in its own transaction.

SQLite has one writer at a time: whoever comes second, the wait or the event, finds the first one there. Only events of
types that some run has waited for are found by their key (`event_key`); the first wait for a type fills in those that
the log holds already.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from motet.model.event import EventRow, LoggedEvent
from motet.model.forgotten import FORGOTTEN
from motet.store.mutations import AwaitedEvent, PutInbox, RegisterWait

_FIELDS = ", ".join(f"event.{name}" for name in LoggedEvent._fields)

EARLIEST = f"""SELECT {_FIELDS} FROM event_key JOIN event ON event.position = event_key.position
    WHERE event_key.type = ? AND event_key.key = ? AND event_key.position > ?
    AND event_key.position NOT IN (SELECT value FROM json_each(?)) AND (event.recipient IS NULL OR event.recipient = ?)
    ORDER BY event_key.position LIMIT 1"""
NEW = f"""SELECT {_FIELDS} FROM event WHERE position > ? AND type IN (SELECT value FROM json_each(?))
    ORDER BY position"""
WAITING = """SELECT wait.uid, wait.op FROM wait CROSS JOIN run ON run.uid = wait.uid
    WHERE wait.type = ? AND wait.key = ? AND wait.taken IS NULL AND wait.after < ? AND coalesce(?, run.id) = run.id"""
TAKEN = "UPDATE wait SET taken = ? WHERE uid = ? AND op = ?"
KNOWN = "SELECT type FROM waited_type WHERE type IN (SELECT value FROM json_each(?))"
_KEY = "INSERT INTO event_key (type, key, position) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


def register(connection: sqlite3.Connection, wait: RegisterWait) -> PutInbox | None:
    """Returns what the run is to be told at once."""
    run = connection.execute("SELECT id, since FROM run WHERE uid = ? AND ended_at IS NULL", (wait.uid,)).fetchone()
    if run is None:
        return None
    id, since = run
    consumed: dict[str, list[int]] = json.loads(wait.consumed)
    found: list[LoggedEvent] = []
    for name, (up_to, *beyond) in consumed.items():
        _fill_in(connection, name, since)
        after = max(since, up_to)
        connection.execute(
            "INSERT INTO wait (uid, op, type, key, after) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (uid, op, type) DO UPDATE SET key = excluded.key, after = excluded.after, taken = NULL",
            (wait.uid, wait.op, name, wait.key, after),
        )
        row = connection.execute(EARLIEST, (name, wait.key, after, json.dumps(beyond), id)).fetchone()
        if row is not None:
            found.append(LoggedEvent(*row))
    if not found:
        return None
    return _take(connection, wait.uid, wait.op, min(found, key=lambda event: event.position))


def end(connection: sqlite3.Connection, waits: Iterable[tuple[str, str]]) -> None:
    connection.executemany("DELETE FROM wait WHERE uid = ? AND op = ?", waits)


def end_all(connection: sqlite3.Connection, uids: Iterable[str]) -> None:
    """Of runs that have ended, or begun another generation."""
    if connection.execute("SELECT 1 FROM wait LIMIT 1").fetchone() is not None:
        connection.executemany("DELETE FROM wait WHERE uid = ?", [(uid,) for uid in uids])


def awaited(connection: sqlite3.Connection, appended: Sequence[EventRow]) -> list[str]:
    """Which types of these events somebody waits for, or has waited for."""
    types = {event.type: None for event in appended}
    return [name for (name,) in connection.execute(KNOWN, (json.dumps([*types]),))]


def tell(connection: sqlite3.Connection, types: Sequence[str], after: int) -> list[PutInbox]:
    """For the events of these types behind `after`, which have just entered the log: who is to be told."""
    told: list[PutInbox] = []
    for row in connection.execute(NEW, (after, json.dumps(types))).fetchall():
        event = LoggedEvent(*row)
        for key in _keys(event):
            connection.execute(_KEY, (event.type, key, event.position))
            waiting = connection.execute(WAITING, (event.type, key, event.position, event.recipient)).fetchall()
            told += [_take(connection, uid, op, event) for uid, op in waiting]
    return told


def _take(connection: sqlite3.Connection, uid: str, op: str, event: LoggedEvent) -> PutInbox:
    connection.execute(TAKEN, (event.position, uid, op))
    payload = msgspec.json.encode(AwaitedEvent(op, msgspec.Raw(msgspec.json.encode(event)))).decode()
    return PutInbox(uid, f"event:{op}:{event.position}", "event", payload, event.recorded_at)


def _fill_in(connection: sqlite3.Connection, name: str, since: int) -> None:
    """Have the events of this type behind `since` found by their key."""
    known = connection.execute("SELECT since FROM waited_type WHERE type = ?", (name,)).fetchone()
    until = known[0] if known is not None else None
    if until is not None and until <= since:
        return
    query = "SELECT subject, recipient, position FROM event WHERE type = ? AND position > ? AND data <> ?"
    values: list[object] = [name, since, FORGOTTEN]
    if until is not None:
        query += " AND position <= ?"
        values.append(until)
    rows = connection.execute(query, values).fetchall()
    connection.executemany(
        _KEY, [(name, key, position) for subject, recipient, position in rows for key in {subject, recipient} - {None}]
    )
    connection.execute(
        "INSERT INTO waited_type (type, since) VALUES (?, ?) ON CONFLICT (type) DO UPDATE SET since = excluded.since",
        (name, since),
    )


def _keys(event: LoggedEvent) -> set[str]:
    return {key for key in (event.subject, event.recipient) if key is not None}

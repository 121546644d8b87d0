"""Cursors: who reads the log how far, each change one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from motet.errors import LeaseLost
from motet.model.clock import Micros
from motet.store.protocol import CursorRow, Subscription

_FIELDS = ", ".join(CursorRow._fields)


def subscribe(connection: sqlite3.Connection, subscriptions: Sequence[Subscription], now: Micros) -> None:
    for subscription in subscriptions:
        name = subscription.name
        if not _exists(connection, name):
            former = next((alias for alias in subscription.aliases if _exists(connection, alias)), None)
            if former is None:
                _create(connection, subscription, now)
            else:
                _rename(connection, former, name)
        connection.execute(
            "UPDATE cursor SET definition = ? WHERE name = ? AND definition <> ?",
            (subscription.definition, name, subscription.definition),
        )


def _exists(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM cursor WHERE name = ?", (name,)).fetchone() is not None


def _create(connection: sqlite3.Connection, subscription: Subscription, now: Micros) -> None:
    name, kind, definition, start, _ = subscription
    position = place_of(connection, start)
    connection.execute(
        "INSERT INTO cursor (name, kind, position, definition, created_at, moved_at) VALUES (?, ?, ?, ?, ?, ?)",
        (name, kind, position, definition, now, now),
    )


def _rename(connection: sqlite3.Connection, former: str, name: str) -> None:
    """With everything that it has left behind. Whoever owns it under its former name does not any more."""
    connection.execute("UPDATE cursor SET name = ?, epoch = epoch + 1, owner = NULL WHERE name = ?", (name, former))
    connection.execute("UPDATE delivery SET reaction = ? WHERE reaction = ?", (name, former))
    connection.execute("UPDATE expected SET expectation = ? WHERE expectation = ?", (name, former))


def place_of(connection: sqlite3.Connection, start: str | Micros) -> int:
    """The position behind which to read."""
    if start == "beginning":
        return 0
    last = head(connection)
    if start == "now":
        return last
    # Recorded time never runs backwards along the log, so it can be halved again and again.
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        query = "SELECT recorded_at FROM event WHERE position <= ? ORDER BY position DESC LIMIT 1"
        found = connection.execute(query, (middle,)).fetchone()
        if found is not None and found[0] >= start:
            high = middle - 1
        else:
            low = middle
    return low


def claim(connection: sqlite3.Connection, worker: int, names: Sequence[str]) -> list[CursorRow]:
    """Raises LeaseLost: the worker is buried and may own nothing."""
    if connection.execute("SELECT 1 FROM worker WHERE id = ? AND buried = 0", (worker,)).fetchone() is None:
        raise LeaseLost(f"worker {worker} has been declared dead")
    rows = connection.execute(
        "UPDATE cursor SET owner = ?, epoch = epoch + 1 "
        f"WHERE owner IS NULL AND name IN (SELECT value FROM json_each(?)) RETURNING {_FIELDS}",
        (worker, json.dumps(names)),
    ).fetchall()
    return [_cursor(row) for row in rows]


def cursors(connection: sqlite3.Connection) -> list[CursorRow]:
    return [_cursor(row) for row in connection.execute(f"SELECT {_FIELDS} FROM cursor ORDER BY name")]


def head(connection: sqlite3.Connection) -> int:
    """The position of the log's last event."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return int(found[0]) if found is not None else 0


def _cursor(row: Sequence[Any]) -> CursorRow:
    cursor = CursorRow(*row)
    return cursor._replace(paused=bool(cursor.paused))

"""Payloads exchanged in place. What they were is overwritten with zeros, and the log beside the file is emptied."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from motet.model.clock import Micros
from motet.model.forgotten import FORGOTTEN
from motet.store.payloads import ABOUT, COLUMNS, KEYS, Key, PayloadChange, PayloadRow, Table

# How a conversation leads to a table's rows.
_OF: dict[Table, str] = {
    "run": "run WHERE run.conversation = ?",
    "history": "run CROSS JOIN history ON history.uid = run.uid WHERE run.conversation = ?",
    "event": "event WHERE event.correlationid = ?",
    "inbox": "run CROSS JOIN inbox ON inbox.uid = run.uid WHERE run.conversation = ?",
    "delivery": "event CROSS JOIN cursor CROSS JOIN delivery ON delivery.reaction = cursor.name "
    "AND delivery.position = event.position WHERE event.correlationid = ?",
}


def query(table: Table, *, of_conversation: bool, first: bool) -> str:
    """The statement that reads a page."""
    keys = ", ".join(f"{table}.{name}" for name in KEYS[table])
    columns = ", ".join(f"{table}.{name}" for name in (*KEYS[table], *ABOUT[table], *COLUMNS[table]))
    where = _OF[table] if of_conversation else f"{table} WHERE 1"
    behind = "" if first else f" AND ({keys}) > ({', '.join('?' * len(KEYS[table]))})"
    return f"SELECT {columns} FROM {where}{behind} ORDER BY {keys} LIMIT ?"


def page(
    connection: sqlite3.Connection, table: Table, conversation: str | None, after: Key | None, limit: int
) -> list[PayloadRow]:
    sql = query(table, of_conversation=conversation is not None, first=after is None)
    values = [*([] if conversation is None else [conversation]), *(after or ()), limit]
    keys = len(KEYS[table])
    columns = keys + len(ABOUT[table])
    return [
        PayloadRow(tuple(row[:keys]), tuple(row[keys:columns]), tuple(row[columns:]))
        for row in connection.execute(sql, values)
    ]  # fmt: skip


def replace(connection: sqlite3.Connection, table: Table, changes: Sequence[PayloadChange]) -> int:
    given = ", ".join(f"{name} = ?" for name in COLUMNS[table])
    where = " AND ".join([*(f"{name} = ?" for name in KEYS[table]), *(f"{name} IS ?" for name in COLUMNS[table])])
    done = 0
    with _overwriting(connection):
        for change in changes:
            values = (*change.after, *change.key, *change.before)
            done += connection.execute(f"UPDATE {table} SET {given} WHERE {where}", values).rowcount
        if table == "event":
            _unfind(connection, [change.key[0] for change in changes if change.after == (FORGOTTEN,)])
    return done


def _unfind(connection: sqlite3.Connection, positions: Sequence[str | int]) -> None:
    """No wait finds them by their keys any more."""
    for position in positions:
        found = "SELECT type, subject, recipient FROM event WHERE position = ?"
        for kind, *keys in connection.execute(found, (position,)).fetchall():
            for key in {*keys} - {None}:
                connection.execute(
                    "DELETE FROM event_key WHERE type = ? AND key = ? AND position = ?", (kind, key, position)
                )


@contextmanager
def _overwriting(connection: sqlite3.Connection) -> Generator[None]:
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {('OFF', 'ON', 'FAST')[before]}").fetchone()


def forget_digests(connection: sqlite3.Connection, conversation: str) -> int:
    with _overwriting(connection):
        return connection.execute(
            "UPDATE tombstone SET digest = NULL WHERE conversation = ? AND digest IS NOT NULL", (conversation,)
        ).rowcount


def sealing(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, proof FROM sealing ORDER BY since, key").fetchall())


def note_key(connection: sqlite3.Connection, name: str, proof: str, now: Micros) -> None:
    values = (name, proof, now)
    connection.execute("INSERT INTO sealing (key, proof, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values)


def drop_keys(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    connection.executemany("DELETE FROM sealing WHERE key = ?", [(name,) for name in names])

"""What status, replay and wake-up read. Never writes; lives in one thread with a connection of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from motet.model.clock import Micros
from motet.model.event import Heading, LoggedEvent
from motet.model.history import Recorded
from motet.model.run import ENDED, Run
from motet.store.mutations import PutInbox
from motet.store.protocol import QueueRow, RunFilter
from motet.store.sqlite.connection import UnreadableText, broken_text_marked, connect, unavailable

R = TypeVar("R")

_RUN = ", ".join(Run._fields)
_SETTLED = ", ".join(f"'{state}'" for state in (*sorted(ENDED), "blocked"))


class Reader:
    """A connection for reading, opened again after it has failed. Makes no file."""

    def __init__(self, path: str, patience: float | None = None) -> None:
        self._path = path
        self._patience = patience
        self._connection: sqlite3.Connection | None = None

    def within(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Raises StoreUnavailable, StoreRefused."""
        try:
            return self._attempt(work)
        except UnreadableText:
            connection = self.open()
            with broken_text_marked(connection):
                return self._attempt(work)

    def open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, readonly=True, patience=self._patience)
        return self._connection

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _attempt(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return work(self.open())
        except sqlite3.Error as error:
            told = unavailable(self._path, error)
            if not isinstance(told, UnreadableText):
                self.close()
            raise told from error


class Watcher:
    """Whether somebody has committed: asked on the event loop, so it never waits for a lock."""

    def __init__(self, path: str) -> None:
        self._reader = Reader(path, patience=0.0)
        self._seen = -1

    @property
    def is_open(self) -> bool:
        """Whether `changed` needs no opening first, which may take a while."""
        return self._reader.is_open

    def open(self) -> None:
        self._reader.open()

    def changed(self) -> bool:
        """`data_version` moves when another connection commits; reading it costs microseconds."""
        (version,) = self._reader.within(_version)
        changed = version != self._seen
        self._seen = version
        return changed

    def close(self) -> None:
        self._reader.close()


def _version(connection: sqlite3.Connection) -> tuple[int]:
    found: tuple[int] = connection.execute("PRAGMA data_version").fetchone()
    return found


def run(connection: sqlite3.Connection, id: str) -> Run | None:
    row = connection.execute(f"SELECT {_RUN} FROM run WHERE id = ?", (id,)).fetchone()
    return Run(*row) if row is not None else None


def runs(connection: sqlite3.Connection, filter: RunFilter) -> list[Run]:
    where = ["1"]
    values: list[str | int] = []
    if filter.workflow is not None:
        where.append("(workflow = ? OR substr(workflow, instr(workflow, '/') + 1) = ?)")
        values += [filter.workflow, filter.workflow]
    if filter.states:
        where.append(f"state IN ({', '.join('?' * len(filter.states))})")
        values += filter.states
    if filter.conversation is not None:
        where.append("conversation = ?")
        values.append(filter.conversation)
    if filter.before is not None:
        where.append("uid < ?")
        values.append(filter.before)
    values.append(filter.limit)
    query = f"SELECT {_RUN} FROM run WHERE {' AND '.join(where)} ORDER BY uid DESC LIMIT ?"
    return [Run(*row) for row in connection.execute(query, values)]


def outcomes(connection: sqlite3.Connection, uids: Sequence[str]) -> list[Run]:
    query = f"SELECT {_RUN} FROM run WHERE uid IN (SELECT value FROM json_each(?)) AND state IN ({_SETTLED})"
    return [Run(*row) for row in connection.execute(query, (json.dumps(list(uids)),))]


def missing(connection: sqlite3.Connection, uids: Sequence[str]) -> list[str]:
    query = """SELECT value FROM json_each(?) AS wanted
        WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.uid = wanted.value)"""
    return [row[0] for row in connection.execute(query, (json.dumps(list(uids)),))]


# The wanted runs come first, so that each is looked up by the history's key. (`IN` over pairs walks the whole table.)
_HISTORIES = f"""
SELECT {", ".join("history." + name for name in Recorded._fields)}
FROM json_each(?) AS wanted CROSS JOIN history
ON history.uid = json_extract(wanted.value, '$[0]') AND history.generation = json_extract(wanted.value, '$[1]')
"""


def histories(connection: sqlite3.Connection, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {uid: [] for uid, _ in runs}
    for row in connection.execute(_HISTORIES, (json.dumps(list(runs)),)):
        found[row[0]].append(Recorded(*row))
    for history in found.values():
        history.sort(key=lambda recorded: recorded.position)  # as good as sorted: it comes in the order of the key
    return found


def inbox(connection: sqlite3.Connection, worker: int) -> list[PutInbox]:
    rows = connection.execute(
        "SELECT inbox.uid, key, inbox.kind, payload, at FROM inbox CROSS JOIN run USING (uid) "
        "WHERE run.owner = ? ORDER BY at, key LIMIT 10000",
        (worker,),
    )
    return [PutInbox(*row) for row in rows]


def events(connection: sqlite3.Connection, after: int, limit: int) -> list[LoggedEvent]:
    query = f"SELECT {', '.join(LoggedEvent._fields)} FROM event WHERE position > ? ORDER BY position LIMIT ?"
    return [LoggedEvent(*row) for row in connection.execute(query, (after, limit))]


EVENTS_AT = f"SELECT {', '.join(LoggedEvent._fields)} FROM event WHERE position IN (SELECT value FROM json_each(?))"
EVENTS_OF = (
    f"SELECT {', '.join(LoggedEvent._fields)} FROM event WHERE correlationid = ? AND position > ? "
    "ORDER BY position LIMIT ?"
)
HEADINGS = (
    f"SELECT {', '.join(Heading._fields)} FROM event WHERE position > ? AND position <= ? "
    "AND type IN (SELECT value FROM json_each(?)) ORDER BY position"
)


def events_at(connection: sqlite3.Connection, positions: Sequence[int]) -> list[LoggedEvent]:
    found = [LoggedEvent(*row) for row in connection.execute(EVENTS_AT, (json.dumps(list(positions)),))]
    return sorted(found)


def events_of(connection: sqlite3.Connection, conversation: str, after: int, limit: int) -> list[LoggedEvent]:
    return [LoggedEvent(*row) for row in connection.execute(EVENTS_OF, (conversation, after, limit))]


def headings(connection: sqlite3.Connection, types: Sequence[str], after: int, until: int) -> list[Heading]:
    return [Heading(*row) for row in connection.execute(HEADINGS, (after, until, json.dumps(list(types))))]


def owned(connection: sqlite3.Connection, worker: int) -> list[Run]:
    return [Run(*row) for row in connection.execute(f"SELECT {_RUN} FROM run WHERE owner = ?", (worker,))]


def catalog(connection: sqlite3.Connection, workflow: str, version: int) -> str | None:
    row = connection.execute(
        "SELECT data FROM catalog WHERE workflow = ? AND version = ?", (workflow, version)
    ).fetchone()
    return row[0] if row is not None else None


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall())


# A run that was freed by its owner's death is due at 0, which is not since when it waits.
_QUEUES = """
SELECT name, max(concurrency), sum(driven), sum(due), min(since)
FROM (
    SELECT name, concurrency, 0 AS driven, 0 AS due, NULL AS since FROM queue
    UNION ALL
    SELECT queue, NULL, count(*), 0, NULL FROM run WHERE owner IS NOT NULL GROUP BY queue
    UNION ALL
    SELECT queue, NULL, 0, count(*), min(CASE wake_at WHEN 0 THEN created_at ELSE wake_at END) FROM run
    WHERE owner IS NULL AND wake_at IS NOT NULL AND wake_at <= ? GROUP BY queue
)
GROUP BY name ORDER BY name
"""


def queues(connection: sqlite3.Connection, now: Micros) -> list[QueueRow]:
    return [QueueRow(*row) for row in connection.execute(_QUEUES, (now,))]

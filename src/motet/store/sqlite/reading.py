"""What status, replay and wake-up read. Never writes; lives in one thread with a connection of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from motet.model.clock import Micros
from motet.model.history import Recorded
from motet.model.run import ENDED, Run
from motet.store.mutations import PutInbox
from motet.store.protocol import Prospect, RunFilter
from motet.store.sqlite.connection import connect, unavailable

R = TypeVar("R")

_RUN = ", ".join(Run._fields)
_RECORDED = ", ".join(Recorded._fields)
_SETTLED = ", ".join(f"'{state}'" for state in (*sorted(ENDED), "blocked"))


class Reader:
    """A connection for reading, opened again after it has failed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._seen = -1

    def within(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Raises StoreUnavailable."""
        try:
            if self._connection is None:
                self._connection = connect(self._path, readonly=True)
            return work(self._connection)
        except sqlite3.Error as error:
            self.close()
            raise unavailable(self._path, error) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def changed(self) -> bool:
        """`data_version` moves when another connection commits; reading it costs microseconds."""
        version = self.within(lambda connection: connection.execute("PRAGMA data_version").fetchone()[0])
        changed = version != self._seen
        self._seen = version
        return bool(changed)


def run(connection: sqlite3.Connection, id: str) -> Run | None:
    row = connection.execute(f"SELECT {_RUN} FROM run WHERE id = ?", (id,)).fetchone()
    return Run(*row) if row is not None else None


def runs(connection: sqlite3.Connection, filter: RunFilter) -> list[Run]:
    where = ["1"]
    values: list[str | int] = []
    if filter.workflow is not None:
        where.append("(workflow = ? OR workflow LIKE '%/' || ?)")
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
    found: list[Run] = []
    for index in range(0, len(uids), 500):
        chunk = uids[index : index + 500]
        marks = ", ".join("?" * len(chunk))
        query = f"SELECT {_RUN} FROM run WHERE uid IN ({marks}) AND state IN ({_SETTLED})"
        found += [Run(*row) for row in connection.execute(query, list(chunk))]
    return found


def histories(connection: sqlite3.Connection, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {uid: [] for uid, _ in runs}
    for index in range(0, len(runs), 250):
        chunk = runs[index : index + 250]
        marks = ", ".join(["(?, ?)"] * len(chunk))
        query = (
            f"SELECT {_RECORDED} FROM history WHERE (uid, generation) IN (VALUES {marks}) "
            "ORDER BY uid, generation, position"
        )
        for row in connection.execute(query, [value for pair in chunk for value in pair]):
            found[row[0]].append(Recorded(*row))
    return found


def inbox(connection: sqlite3.Connection, worker: int) -> list[PutInbox]:
    rows = connection.execute(
        "SELECT inbox.uid, key, inbox.kind, payload, at FROM inbox JOIN run USING (uid) "
        "WHERE run.owner = ? ORDER BY at, key LIMIT 10000",
        (worker,),
    )
    return [PutInbox(*row) for row in rows]


def catalog(connection: sqlite3.Connection, workflow: str, version: int) -> str | None:
    row = connection.execute(
        "SELECT data FROM catalog WHERE workflow = ? AND version = ?", (workflow, version)
    ).fetchone()
    return row[0] if row is not None else None


_PROSPECT = """
SELECT
    EXISTS (SELECT 1 FROM inbox JOIN run USING (uid) WHERE run.owner = :worker),
    EXISTS (
        SELECT 1 FROM run WHERE owner IS NULL AND wake_at <= :now
        AND workflow IN (SELECT value FROM json_each(:known))
    ) OR EXISTS (
        SELECT 1 FROM inbox JOIN run USING (uid) WHERE run.owner IS NULL AND run.ended_at IS NULL
        AND (coalesce(run.parked, 'incident') = 'incident' OR inbox.kind = 'retry')
        AND workflow IN (SELECT value FROM json_each(:known))
    ) OR EXISTS (
        SELECT 1 FROM run WHERE state = 'blocked' AND parked = 'divergence' AND owner IS NULL
        AND fingerprint <> :fingerprint AND workflow IN (SELECT value FROM json_each(:known))
    ),
    (SELECT min(wake_at) FROM run WHERE owner IS NULL AND wake_at > :now)
"""


def prospect(
    connection: sqlite3.Connection, worker: int, known: Sequence[str], fingerprint: str, now: Micros
) -> Prospect:
    values = {"worker": worker, "known": json.dumps(list(known)), "fingerprint": fingerprint, "now": now}
    inbox, claimable, next_wake = connection.execute(_PROSPECT, values).fetchone()
    return Prospect(bool(inbox), bool(claimable), next_wake)


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall())

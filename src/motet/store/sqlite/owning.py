"""Who drives what: registering, burying and claiming, each one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from motet.errors import LeaseLost
from motet.model.clock import Micros
from motet.model.run import Run
from motet.store.protocol import WorkerInfo, WorkerRow

_RUN = ", ".join(Run._fields)

KNOWN = "SELECT value FROM json_each(:known)"

WOKEN = f"""
    FROM inbox CROSS JOIN run USING (uid)
    WHERE run.owner IS NULL AND run.ended_at IS NULL
      AND (coalesce(run.parked, 'incident') = 'incident' OR inbox.kind = 'retry')
      AND run.workflow IN ({KNOWN})
"""
"""Runs with something in their inbox that somebody may act on. The inbox comes first: it is short."""

CURABLE = f"""
    FROM run
    WHERE state = 'blocked' AND parked = 'divergence' AND owner IS NULL AND fingerprint <> :fingerprint
      AND workflow IN ({KNOWN})
"""
"""Runs that were blocked because code of another fingerprint did not fit."""

# Each part has its own limit: else all that is due would be sorted for each chunk that is claimed.
_CLAIM = f"""
UPDATE run
SET owner = :worker, epoch = epoch + 1, wake_at = NULL,
    state = CASE WHEN state IN ('pending', 'waiting') THEN 'running' ELSE state END
WHERE uid IN (
    SELECT uid FROM (
        SELECT uid, wake_at AS since FROM (
            SELECT uid, wake_at FROM run
            WHERE owner IS NULL AND wake_at <= :now AND workflow IN ({KNOWN})
            ORDER BY wake_at LIMIT :limit
        )
        UNION
        SELECT uid, 0 FROM (SELECT DISTINCT run.uid {WOKEN} LIMIT :limit)
        UNION
        SELECT uid, 0 FROM (SELECT uid {CURABLE} LIMIT :limit)
    )
    GROUP BY uid ORDER BY min(since) LIMIT :limit
)
RETURNING {_RUN}
"""


def register(connection: sqlite3.Connection, info: WorkerInfo, catalog: dict[str, str], now: Micros) -> int:
    fields = ", ".join(info._fields)
    marks = ", ".join("?" * len(info._fields))
    cursor = connection.execute(
        f"INSERT INTO worker ({fields}, started_at, seen_at) VALUES ({marks}, ?, ?)", (*info, now, now)
    )
    entries = [(*_split(key), data) for key, data in catalog.items()]
    connection.executemany(
        "INSERT INTO catalog (workflow, version, data) VALUES (?, ?, ?) "
        "ON CONFLICT (workflow, version) DO UPDATE SET data = excluded.data WHERE data <> excluded.data",
        entries,
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _split(key: str) -> tuple[str, int]:
    workflow, _, version = key.rpartition("@")
    return workflow, int(version)


def resign(connection: sqlite3.Connection, worker: int) -> None:
    _free(connection, worker, crashed=False)
    connection.execute("UPDATE worker SET buried = 1 WHERE id = ?", (worker,))


def workers(connection: sqlite3.Connection) -> list[WorkerRow]:
    fields = ", ".join(WorkerRow._fields)
    return [
        WorkerRow(*row)._replace(buried=bool(row[WorkerRow._fields.index("buried")]))
        for row in connection.execute(f"SELECT {fields} FROM worker WHERE buried = 0 ORDER BY id")
    ]


def beat(connection: sqlite3.Connection, worker: int, now: Micros) -> bool:
    """Beside the batches: whoever has nothing to write is alive all the same."""
    moved = connection.execute(
        "UPDATE worker SET beats = beats + 1, seen_at = ? WHERE id = ? AND buried = 0", (now, worker)
    ).rowcount
    return bool(moved)


def drain(connection: sqlite3.Connection, worker: int) -> None:
    connection.execute("UPDATE worker SET state = 'draining' WHERE id = ?", (worker,))


def bury(connection: sqlite3.Connection, worker: int, counter: int) -> bool:
    """By compare-and-set on the counter: a worker that has moved meanwhile is alive."""
    held = connection.execute(
        "UPDATE worker SET buried = 1 WHERE id = ? AND buried = 0 AND batch + beats = ?", (worker, counter)
    ).rowcount
    if held:
        _free(connection, worker, crashed=True)
    return bool(held)


def claim(
    connection: sqlite3.Connection, worker: int, known: Sequence[str], fingerprint: str, now: Micros, limit: int
) -> list[Run]:
    """Raises LeaseLost: the worker is buried and may own nothing."""
    if connection.execute("SELECT 1 FROM worker WHERE id = ? AND buried = 0", (worker,)).fetchone() is None:
        raise LeaseLost(f"worker {worker} has been declared dead")
    names = json.dumps(list(known))
    rows = connection.execute(
        _CLAIM, {"worker": worker, "now": now, "known": names, "fingerprint": fingerprint, "limit": limit}
    ).fetchall()
    return [Run(*row) for row in rows]


def _free(connection: sqlite3.Connection, worker: int, *, crashed: bool) -> None:
    connection.execute(
        "UPDATE run SET owner = NULL, wake_at = 0, crashes = crashes + ? WHERE owner = ?", (int(crashed), worker)
    )

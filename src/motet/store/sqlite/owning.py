"""Workers come and go: registering, heartbeats, draining, burial, each one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from motet.model.clock import Micros
from motet.model.event import ENGINE
from motet.model.identity import new_uid
from motet.store.mutations import AppendEvent
from motet.store.protocol import WorkerInfo, WorkerRow
from motet.store.sqlite.applying import apply_batch


def register(
    connection: sqlite3.Connection, info: WorkerInfo, catalog: dict[str, str], now: Micros,
    limits: Mapping[str, int | None],
) -> int:  # fmt: skip
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
    worker = cursor.lastrowid
    assert worker is not None
    connection.executemany(
        "INSERT INTO knows (worker, workflow, version) VALUES (?, ?, ?)",
        [(worker, *key) for *key, _ in entries],
    )
    connection.executemany(
        "INSERT INTO queue (name, concurrency) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency",
        limits.items(),
    )
    return worker


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


def bury(connection: sqlite3.Connection, worker: int, counter: int, now: Micros, path: str) -> bool:
    """By compare-and-set on the counter: a worker that has moved meanwhile is alive. That one was lost is an event."""
    held = connection.execute(
        "UPDATE worker SET buried = 1 WHERE id = ? AND buried = 0 AND batch + beats = ?", (worker, counter)
    ).rowcount
    if held:
        freed = _free(connection, worker, crashed=True)
        apply_batch(connection, {AppendEvent: [_lost(connection, worker, freed, now)]}, path)
    return bool(held)


def _lost(connection: sqlite3.Connection, worker: int, runs: int, now: Micros) -> AppendEvent:
    found = connection.execute("SELECT name, host, pid, seen_at FROM worker WHERE id = ?", (worker,)).fetchone()
    name, host, pid, seen_at = found
    data = json.dumps({"worker": worker, "name": name, "host": host, "pid": pid, "seen_at": seen_at, "runs": runs})
    uid = new_uid(now)
    return AppendEvent(uid, ENGINE, f"{ENGINE}.worker.lost", name, now, now, uid, None, data)


def _free(connection: sqlite3.Connection, worker: int, *, crashed: bool) -> int:
    """What a worker had and knew; returns how many runs it had."""
    runs = connection.execute(
        "UPDATE run SET owner = NULL, wake_at = 0, crashes = crashes + ? WHERE owner = ?", (int(crashed), worker)
    ).rowcount
    connection.execute("DELETE FROM knows WHERE worker = ?", (worker,))
    connection.execute("UPDATE cursor SET owner = NULL, crashes = crashes + ? WHERE owner = ?", (int(crashed), worker))
    return runs

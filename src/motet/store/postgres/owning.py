"""Workers come and go: registering, heartbeats, draining, burial, each one transaction.

Who is buried must hold nothing back: neither a batch on its way, which the fence has locked, nor a claim or a
delivery's end, which hold the row FOR KEY SHARE. So burial locks the row FOR UPDATE; and it waits for nobody, since
whoever holds the row is not dead yet, or is let go of by the server in half a lease.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from motet.model.clock import Micros
from motet.model.event import ENGINE
from motet.model.identity import new_uid
from motet.store.mutations import AppendEvent
from motet.store.postgres.applying import apply_batch
from motet.store.postgres.link import Link
from motet.store.protocol import WorkerInfo, WorkerRow

_WORKER = ", ".join(WorkerRow._fields)

REGISTER = f"""INSERT INTO motet.worker ({", ".join(WorkerInfo._fields)}, started_at, seen_at)
    VALUES ({", ".join(f"${number}" for number in range(1, len(WorkerInfo._fields) + 3))}) RETURNING id"""
CATALOG = """INSERT INTO motet.catalog (workflow, version, data)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]) ON CONFLICT (workflow, version)
    DO UPDATE SET data = excluded.data WHERE catalog.data <> excluded.data"""
KNOWS = """INSERT INTO motet.knows (worker, workflow, version)
    SELECT $1, * FROM unnest($2::text[], $3::bigint[])"""
KNOWS_NO_MORE = "DELETE FROM motet.knows WHERE worker = $1"
LIMITS = """INSERT INTO motet.queue (name, concurrency) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency
    WHERE queue.concurrency IS DISTINCT FROM excluded.concurrency"""
WORKERS = f"SELECT {_WORKER} FROM motet.worker WHERE NOT buried ORDER BY id"
BEAT = "UPDATE motet.worker SET beats = beats + 1, seen_at = $1 WHERE id = $2 AND NOT buried"
DRAIN = "UPDATE motet.worker SET state = 'draining' WHERE id = $1"
LOCK_TO_BURY = """SELECT id FROM motet.worker WHERE id = $1 AND NOT buried AND batch + beats = $2
    FOR UPDATE SKIP LOCKED"""
LOCK_TO_RESIGN = "SELECT id FROM motet.worker WHERE id = $1 FOR UPDATE"
BURY = "UPDATE motet.worker SET buried = true WHERE id = $1 RETURNING name, host, pid, seen_at"
FREE_RUNS = "UPDATE motet.run SET owner = NULL, wake_at = 0, crashes = crashes + $2 WHERE owner = $1"
LOCK_CURSORS = "SELECT name FROM motet.cursor WHERE owner = $1 ORDER BY name FOR UPDATE"
FREE_CURSORS = "UPDATE motet.cursor SET owner = NULL, crashes = crashes + $2 WHERE owner = $1"


async def register(
    link: Link, info: WorkerInfo, catalog: dict[str, str], now: Micros, limits: Mapping[str, int | None]
) -> int:
    id = int(await link.value(REGISTER, *info, now, now))
    # In one order, whoever registers: else two that start together would wait for each other.
    entries = sorted((*_split(key), data) for key, data in catalog.items())
    if entries:
        workflows, versions, data = zip(*entries, strict=True)
        await link.do(CATALOG, workflows, versions, data)
        await link.do(KNOWS, id, workflows, versions)
    if limits:
        names = sorted(limits)
        await link.do(LIMITS, names, [limits[name] for name in names])
    return id


def _split(key: str) -> tuple[str, int]:
    workflow, _, version = key.rpartition("@")
    return workflow, int(version)


async def resign(link: Link, worker: int) -> None:
    await link.rows(LOCK_TO_RESIGN, worker)
    await _free(link, worker, crashed=False)
    await link.rows(BURY, worker)


async def workers(link: Link) -> list[WorkerRow]:
    return [WorkerRow(*row) for row in await link.rows(WORKERS)]


async def beat(link: Link, worker: int, now: Micros) -> bool:
    """Beside the batches: whoever has nothing to write is alive all the same."""
    return bool(await link.do(BEAT, now, worker))


async def drain(link: Link, worker: int) -> None:
    await link.do(DRAIN, worker)


async def bury(link: Link, worker: int, counter: int, now: Micros, place: str) -> bool:
    """By compare-and-set on the counter: a worker that has moved meanwhile is alive. That one was lost is an event."""
    if not await link.rows(LOCK_TO_BURY, worker, counter):
        return False
    freed = await _free(link, worker, crashed=True)
    row = await link.row(BURY, worker)
    assert row is not None
    name, host, pid, seen_at = row
    data = json.dumps({"worker": worker, "name": name, "host": host, "pid": pid, "seen_at": seen_at, "runs": freed})
    uid = new_uid(now)
    lost = AppendEvent(uid, ENGINE, f"{ENGINE}.worker.lost", name, now, now, uid, None, data)
    await apply_batch(link, {AppendEvent: [lost]}, now, place)
    return True


async def _free(link: Link, worker: int, *, crashed: bool) -> int:
    """What a worker had and knew; returns how many runs it had."""
    runs = await link.do(FREE_RUNS, worker, int(crashed))
    await link.do(KNOWS_NO_MORE, worker)
    await link.rows(LOCK_CURSORS, worker)
    await link.do(FREE_CURSORS, worker, int(crashed))
    return runs

"""What befalls a worker and its batch on a PostgreSQL: stopped with a batch in hand, between two, or back in the last
moment.

On SQLite the writers' lock lines everybody up for it; here it is row locks and a lock on one table, and who waits for
them is told by the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import asyncpg

from tests.chaos.asking import AWAY, Base, connect
from tests.chaos.workers import BATCH_IN_HAND_SECONDS, BURIED, Workers

WAITING = (
    "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def client_name(slot: str | int) -> str:
    """What the worker in this place calls itself before the server."""
    return f"worker-{slot}"


WAITS_FOR_ME = """SELECT count(*) FROM pg_stat_activity
    WHERE application_name = $1 AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"""
IN_A_TRANSACTION = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL"
TRIES = 10
LONGEST_LINE_SECONDS = 3
"""While one waits for the lock on a whole table, all others wait behind it."""


@contextlib.asynccontextmanager
async def _stranger(address: str) -> AsyncGenerator[asyncpg.Connection]:
    """A transaction of somebody else's, which is taken back unless it is committed inside."""
    connection = await connect(address)
    try:
        await connection.execute("BEGIN")
        yield connection
        await connection.execute("ROLLBACK")
    finally:
        connection.terminate()


async def pause(workers: Workers, seconds: float, base: Base, address: str) -> bool:
    """As `Workers.pause`, rather for one that is between two batches: when it goes on it has one to begin.

    Whoever is stopped in a transaction finds that the server has ended it meanwhile, and asks what has become of it.
    """
    slot = workers._one()
    if slot is None:
        return False
    try:
        async with _stranger(address) as stranger:
            for _ in range(TRIES):
                pid = workers._stop(slot)
                if not await stranger.fetchval(IN_A_TRANSACTION, client_name(slot.number)):
                    break
                workers._resume(slot, pid)
                await asyncio.sleep(0.01)  # tidy: until it has done its transaction
                await stranger.execute("SELECT pg_stat_clear_snapshot()")  # else it sees the same for ever
    except AWAY:
        pass  # then anyhow
    return await workers._pause(slot, seconds, base)


async def overtake(workers: Workers, seconds: float, base: Base, address: str) -> bool:
    """Pause two whose batch waits in the server, until they are buried; whether one was."""
    pausing: list[asyncio.Task[bool]] = []
    try:
        async with _stranger(address) as stranger:
            await stranger.execute("LOCK TABLE history IN EXCLUSIVE MODE")
            await asyncio.sleep(BATCH_IN_HAND_SECONDS)  # tidy: so that each has a batch
            names = {name for (name,) in await stranger.fetch(WAITING)}
            waiting = [slot for slot in workers._working() if client_name(slot.number) in names]
            chosen = workers._chance.sample(waiting, min(len(waiting), 2))
            pausing = [asyncio.create_task(workers._pause(slot, seconds, base)) for slot in chosen]
            await asyncio.sleep(0.1)  # tidy: they are stopped before the lock is gone
    except AWAY:
        pass  # the server went away meanwhile; who is stopped stays so for its time
    buried = await asyncio.gather(*pausing)
    workers.overtaken += sum(buried)
    return any(buried)


async def come_back(workers: Workers, lease_seconds: float, base: Base, address: str) -> bool:
    """Stop one for a lease; when another has made up its mind to bury it, and is on its way, its heartbeat comes first.

    Burial skips a row that is locked, but waits for a lock on the whole table: whoever holds that sees it come. The
    heartbeat is written for the one that is stopped. Nobody holds the table for so long that all stop to watch.
    """
    slot = workers._one()
    if slot is None:
        return False
    pid = workers._stop(slot)
    moved = False
    try:
        await asyncio.sleep(lease_seconds * 0.8)  # tidy: nearly so long it is away
        for _ in range(3):
            async with _stranger(address) as stranger:
                await stranger.execute(f"SET LOCAL lock_timeout = '{LONGEST_LINE_SECONDS}s'")
                await stranger.execute("LOCK TABLE worker IN EXCLUSIVE MODE")
                if await _is_on_its_way(stranger, lease_seconds * 0.4):
                    beat = "UPDATE worker SET beats = beats + 1 WHERE NOT buried AND pid = $1"
                    moved = await stranger.execute(beat, pid) == "UPDATE 1"
                    await stranger.execute("COMMIT")
                    break
    except (*AWAY, asyncpg.LockNotAvailableError):
        pass  # the server went away, or somebody has the table for too long
    finally:
        workers._resume(slot, pid)
    workers.returns += moved
    return moved


async def _is_on_its_way(stranger: asyncpg.Connection, seconds: float) -> bool:
    """Whether somebody comes to bury somebody in this time."""
    look = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await stranger.fetchval(look, "%FROM motet.worker%FOR UPDATE%"):
                await asyncio.sleep(0.02)  # tidy: between two looks
                await stranger.execute("SELECT pg_stat_clear_snapshot()")  # else it sees the same for ever
            return True
    return False


NEXT_FACTS = """INSERT INTO history (uid, generation, position, applied, op, operation_kind, kind, at, attempt)
    SELECT run.uid, run.generation, coalesce(last.position, 0) + ahead, 0, 'none#1', 'step', 'completed', 0, 0
    FROM worker JOIN run ON run.owner = worker.id CROSS JOIN generate_series(1, 3) AS ahead
    LEFT JOIN LATERAL (SELECT position FROM history WHERE history.uid = run.uid
    AND history.generation = run.generation ORDER BY position DESC LIMIT 1) AS last ON true
    WHERE worker.pid = $1 AND NOT worker.buried ON CONFLICT DO NOTHING"""


async def hold(workers: Workers, seconds: float, address: str) -> bool:
    """Have a batch of one worker's wait in the server, stop the worker, and let both go on after so long.

    Somebody else writes at the places of its runs' next facts, and takes it back: only its batch waits for that, with
    the fence taken, and whoever wants to bury it is held up by nothing but the fence. Should it be buried all the same,
    its batch goes on at once, while its heirs still read what it had.
    """
    slot = workers._one()
    if slot is None:
        return False
    name, pid, held = client_name(slot.number), slot.pid, False
    try:
        async with _stranger(address) as stranger:
            await stranger.execute(NEXT_FACTS, pid)
            if await _comes_to_wait(stranger, name):
                workers._stop(slot)
                held = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        while not await stranger.fetchval(f"{BURIED} $1", pid):
                            await asyncio.sleep(0.02)  # tidy: between two looks
    except AWAY:
        return False
    finally:
        if held:
            workers._resume(slot, pid)
    return held


async def _comes_to_wait(stranger: asyncpg.Connection, name: str) -> bool:
    """For the stranger itself: who waits for the log's lock, say, goes on when others have done."""
    for _ in range(50):
        if await stranger.fetchval(WAITS_FOR_ME, name):
            return True
        await asyncio.sleep(0.02)  # tidy: between two looks
        await stranger.execute("SELECT pg_stat_clear_snapshot()")  # else it sees the same for ever
    return False

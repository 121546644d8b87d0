"""What befalls a worker and its batch on a PostgreSQL: stopped with a batch in hand, or back in the last moment.

On SQLite the writers' lock lines everybody up for it; here it is row locks and a lock on one table, and who waits for
them is told by the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import asyncpg

from tests.chaos.asking import AWAY, Base, connect
from tests.chaos.workers import ALL_HAVE_LOOKED_SECONDS, BATCH_IN_HAND_SECONDS, Workers, _is_buried

WAITING = (
    "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def client_name(slot: str | int) -> str:
    """What the worker in this place calls itself before the server."""
    return f"worker-{slot}"


@contextlib.asynccontextmanager
async def _stranger(address: str) -> AsyncGenerator[asyncpg.Connection]:
    """A transaction of somebody else's."""
    connection = await connect(address)
    try:
        async with connection.transaction():
            yield connection
    finally:
        connection.terminate()


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
    """Stop one for a lease; when others have made up their minds to bury it, its heartbeat comes first.

    The heartbeat is written for it, in a transaction that holds its row until somebody waits for that row.
    """
    slot = workers._one()
    if slot is None:
        return False
    pid = workers._stop(slot)
    waited = False
    try:
        await asyncio.sleep(lease_seconds)  # tidy: so long it is away
        async with _stranger(address) as stranger:
            moved = await stranger.execute("UPDATE worker SET beats = beats + 1 WHERE NOT buried AND pid = $1", pid)
            async with asyncio.timeout(ALL_HAVE_LOOKED_SECONDS * 2):
                while moved == "UPDATE 1" and not waited:
                    await asyncio.sleep(0.02)  # tidy: between two looks at who waits
                    waited = bool(await _waits_for(stranger))
    except (*AWAY, TimeoutError):
        pass  # nobody wanted to, or the server went away
    finally:
        workers._resume(slot, pid)
    returned = waited and not await asyncio.to_thread(_is_buried, base, pid)
    workers.returns += returned
    return returned


async def _waits_for(stranger: asyncpg.Connection) -> bool:
    """Whether somebody waits for what this transaction holds."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    count: int = await stranger.fetchval(blocked)
    return count > 0

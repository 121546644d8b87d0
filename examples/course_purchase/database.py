"""The demo's hand on a PostgreSQL server: one crash on the way, with recovery, where nobody else is harmed.

One of the server's processes is killed with SIGKILL. PostgreSQL then trusts its shared memory no more: it throws
everybody out, recovers from its log, and takes connections again, which is what it does after a crash of its machine.

That is done only to a server of this machine that keeps no other database busy, and says why not elsewhere.
"""

import asyncio
import importlib
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

from motet.store.postgres_address import parse

LOOK_SECONDS = 0.1
RECOVERY_SECONDS = 60.0

_ABOUT = """SELECT pg_backend_pid() AS pid, coalesce(inet_client_port(), -1) AS port, current_database() AS name,
    current_setting('restart_after_crash') = 'on' AS restarts,
    (SELECT string_agg(DISTINCT datname, ', ') FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND datname <> current_database()) AS others"""


class OutOfReach(Exception):
    """The server is not to be crashed, or cannot be. The message says why."""


class Backend(NamedTuple):
    """The server's process for a connection of ours."""

    connection: Any
    pid: int


class Database:
    """The server behind a store's address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def crash(self) -> float:
        """Crash it, and return when it answers again, with the seconds that it was away. Raises OutOfReach."""
        backend = await self._backend()
        witness = await self._connect()
        loop = asyncio.get_running_loop()
        began = loop.time()
        os.kill(backend.pid, signal.SIGKILL)
        backend.connection.terminate()
        async with asyncio.timeout(RECOVERY_SECONDS):
            while await _lives(witness):  # noqa: ASYNC110 - until the server has seen it and thrown everybody out
                await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks
            while not await self._answers():  # noqa: ASYNC110 - a look at another process
                await asyncio.sleep(LOOK_SECONDS)  # tidy: between two looks
        return loop.time() - began

    async def _backend(self) -> Backend:
        connection = await self._connect()
        row = await connection.fetchrow(_ABOUT)
        reason = None
        if row["others"]:
            reason = f"others are at work in {row['others']} on the same server"
        elif not row["restarts"]:
            reason = "its setting restart_after_crash is off"
        elif not _is_here(row["pid"], row["port"]):
            reason = "its processes are not on this machine, or not this user's"
        if reason is not None:
            await connection.close()
            raise OutOfReach(reason)
        return Backend(connection, row["pid"])

    async def _answers(self) -> bool:
        try:
            connection = await self._connect()
            await connection.close()
        except Exception:  # whatever the driver says while the server recovers; for how long is the caller's to judge
            return False
        return True

    async def _connect(self) -> Any:
        driver = importlib.import_module("asyncpg")  # an extra: only who names a PostgreSQL needs it
        return await driver.connect(parse(self._address).dsn, timeout=10)


async def _lives(connection: Any) -> bool:
    try:
        await connection.fetchval("SELECT 1")
    except Exception:  # whatever the driver says of a connection that the server has ended
        connection.terminate()
        return False
    return True


def is_postgres(address: str) -> bool:
    return address.partition("://")[0] in ("postgresql", "postgres")


def _is_here(pid: int, port: int) -> bool:
    """Whether that is a process of this machine which serves that client, and which this user may kill."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_text()
        os.kill(pid, 0)
    except (OSError, UnicodeDecodeError):
        return False
    return title.startswith("postgres: ") and (f"({port})" in title if port > 0 else "[local]" in title)

"""Holding transactions where it matters: somebody else's connection, with locks that a test lets go of.

Nothing rests on being quick: a test waits until somebody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

PATIENCE_SECONDS = 30

OUTBOX = """INSERT INTO motet.outbox (id, source, type, subject, time, recorded_at, correlationid, data)
    VALUES ($1, 'shop', 'sold', 'k', 1, 1, 'k', $2)"""


class Outside:
    """Somebody else's connection: holds what others want, and sees who waits."""

    def __init__(self, connection: asyncpg.Connection, address: str) -> None:
        self.connection = connection
        self._address = address

    async def publish(self, id: str, data: str) -> None:
        """In a transaction of one's own."""
        own = await asyncpg.connect(self._address)
        await own.execute(OUTBOX, id, data)
        await own.close()

    async def hold_fact(self, uid: str, position: int) -> asyncpg.transaction.Transaction:
        """Until it is taken back, whoever records the run's fact at this position waits."""
        holding = self.connection.transaction()
        await holding.start()
        await self.connection.execute(
            "INSERT INTO motet.history (uid, generation, position, applied, op, operation_kind, kind, at, attempt) "
            "VALUES ($1, 1, $2, 0, 'none#1', 'step', 'completed', 0, 0)",
            uid,
            position,
        )
        return holding

    async def hold_row(self, table: str, where: str, *values: Any) -> asyncpg.transaction.Transaction:
        """Until it is taken back or committed, whoever wants to change this row waits."""
        holding = self.connection.transaction()
        await holding.start()
        found = await self.connection.fetch(f"SELECT FROM motet.{table} WHERE {where} FOR UPDATE", *values)
        assert found, f"nothing of {table} to be held"
        return holding

    async def waiting(self) -> int:
        """How many wait for a lock."""
        count: int = await self.connection.fetchval(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND (database IS NULL OR database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        return count

    async def until_waiting(self, count: int, unless: asyncio.Task[Any] | None = None) -> None:
        """So many wait; or this has come to its end without waiting."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.waiting() < count and not (unless is not None and unless.done()):
                await asyncio.sleep(0.01)  # tidy: between two looks at another connection


def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(work)

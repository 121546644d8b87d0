"""Connections of asyncpg, and those that a pool has lent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet.store.borrowing.kinds import Awaiting, Rows, classes

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement


def borrow(connection: Any) -> Awaiting | None:
    """None: it is something else of asyncpg."""
    if not classes(connection, "asyncpg") & {"Connection", "PoolConnectionProxy"}:
        return None

    async def execute(statement: Statement) -> Rows:
        rows: Rows = await connection.fetch(statement.sql, *statement.values)
        return rows

    return Awaiting(execute)

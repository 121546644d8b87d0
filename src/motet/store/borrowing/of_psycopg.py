"""Connections of psycopg 3, sync and async. Whatever rows their user wants, ours are tuples."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from motet.store.borrowing.kinds import Asking, Awaiting, Rows, classes

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement


def borrow(connection: Any) -> Asking | Awaiting | None:
    """None: it is something else of psycopg."""
    found = classes(connection, "psycopg")
    if not found & {"Connection", "AsyncConnection"}:
        return None
    tuples = import_module("psycopg.rows").tuple_row

    def execute(statement: Statement) -> Rows:
        with connection.cursor(row_factory=tuples) as cursor:
            cursor.execute(statement.percent, statement.values)
            return cursor.fetchall() if cursor.description else ()

    async def execute_async(statement: Statement) -> Rows:
        async with connection.cursor(row_factory=tuples) as cursor:
            await cursor.execute(statement.percent, statement.values)
            return await cursor.fetchall() if cursor.description else ()

    return Awaiting(execute_async) if "AsyncConnection" in found else Asking(execute)

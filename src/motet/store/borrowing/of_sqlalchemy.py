"""Sessions and connections of SQLAlchemy 2, sync and async, on whatever driver they stand.

Statements go through SQLAlchemy's own connection and not around it, so that it knows of the transaction. What waits in
a session to be flushed is written by the session, when it likes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from motet.errors import WrongType
from motet.store.borrowing.kinds import Asking, Awaiting, OnFile, OnThread, Rows, classes

if TYPE_CHECKING:
    from motet.store.postgres.borrowed import Statement

_SYNC_SESSIONS = {"Session", "scoped_session"}
_ASYNC_SESSIONS = {"AsyncSession", "async_scoped_session"}


def borrow(connection: Any) -> OnFile | OnThread | Asking | Awaiting | None:
    """None: it is something else of SQLAlchemy. Raises WrongType: it stands on a database that is no store's."""
    found = classes(connection, "sqlalchemy")
    if found & _ASYNC_SESSIONS:
        return _awaiting(connection.get_bind().dialect.name, connection.connection)
    if "AsyncConnection" in found:
        return _awaiting(connection.dialect.name, lambda: _itself(connection))
    if found & _SYNC_SESSIONS:
        return _asking(connection.connection())
    return _asking(connection) if "Connection" in found else None


def _asking(connection: Any) -> OnFile | Asking:
    if connection.dialect.name == "sqlite":
        _begin(connection)
        return OnFile(_raw(connection.connection.driver_connection))
    _check_dialect(connection.dialect.name)
    text = import_module("sqlalchemy").text

    def execute(statement: Statement) -> Rows:
        result = connection.execute(text(statement.named()), _values(statement))
        return result.all() if result.returns_rows else ()

    return Asking(execute)


def _awaiting(dialect: str, connect: Callable[[], Awaitable[Any]]) -> OnThread | Awaiting:
    if dialect == "sqlite":
        return OnThread(partial(_in_its_thread, connect))
    _check_dialect(dialect)
    text = import_module("sqlalchemy").text

    async def execute(statement: Statement) -> Rows:
        result = await (await connect()).execute(text(statement.named()), _values(statement))
        return result.all() if result.returns_rows else ()

    return Awaiting(execute)


async def _itself(connection: Any) -> Any:
    return connection


async def _in_its_thread(connect: Callable[[], Awaitable[Any]], work: Callable[[sqlite3.Connection], Any]) -> Any:
    """With aiosqlite, whose connections live in threads of their own."""
    connection = await connect()
    await connection.run_sync(_begin)
    driver = (await connection.get_raw_connection()).driver_connection
    if not (hasattr(driver, "_execute") and hasattr(driver, "_conn")):
        kind = type(driver).__module__
        raise WrongType(f"conn stands on {kind}, which Motet does not know; use SQLAlchemy's sync face")
    return await driver._execute(work, driver._conn)  # noqa: SLF001 - it has no public way to its thread


def _begin(connection: Any) -> None:
    """What goes around SQLAlchemy does not make it begin a transaction; and it only commits what it has begun."""
    if not connection.in_transaction():
        connection.begin()


def _raw(driver: Any) -> sqlite3.Connection:
    if not isinstance(driver, sqlite3.Connection):
        raise WrongType(f"conn stands on {type(driver).__module__}, and not on sqlite3; use sqlite+pysqlite://")
    return driver


def _values(statement: Statement) -> dict[str, str]:
    return {f"p{number}": value for number, value in enumerate(statement.values, 1)}


def _check_dialect(name: str) -> None:
    if name != "postgresql":
        raise WrongType(f"conn is SQLAlchemy's connection to {name}; a store is in SQLite or PostgreSQL")

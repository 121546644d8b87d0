"""A campaign's database as plain SQL, whichever it is: nothing here knows the engine.

Questions are written with `?` for each value; what differs between the two databases is the asker's business.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg

T = TypeVar("T")
Row = tuple[Any, ...]
SCHEMA = "motet"
"""Where the engine's tables are on PostgreSQL."""


class Away(Exception):
    """The database does not answer now."""


class Base(Protocol):
    """A database that may be asked; each call blocks until the answer is there, and may come from any thread."""

    def ask(self, question: str, *values: object) -> list[Row]:
        """Raises Away."""
        ...

    def integrity(self) -> str:
        """`ok`, or what is damaged."""
        ...

    def close(self) -> None: ...


class SqliteBase:
    """A file, opened once, for reading only."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: sqlite3.Connection | None = None
        self._turn = threading.Lock()

    def ask(self, question: str, *values: object) -> list[Row]:
        with self._turn:
            try:
                if self._open is None:
                    address = f"file:{self._file}?mode=ro"
                    self._open = sqlite3.connect(address, uri=True, timeout=1, check_same_thread=False)
                return self._open.execute(question, values).fetchall()
            except sqlite3.OperationalError as error:
                self._forget()
                raise Away(str(error)) from error

    def integrity(self) -> str:
        return str(self.ask("PRAGMA integrity_check")[0][0])

    def close(self) -> None:
        with self._turn:
            self._forget()

    def _forget(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class PostgresBase:
    """A database on a server: one connection, made anew when it was lost, on a thread of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    def ask(self, question: str, *values: object) -> list[Row]:
        numbers = itertools.count(1)
        text = re.sub(r"\?", lambda _: f"${next(numbers)}", question)
        return self._wait(self._ask(text, values))

    def integrity(self) -> str:
        """Each index against its table (amcheck)."""
        self._wait(self._ask("CREATE EXTENSION IF NOT EXISTS amcheck", ()))
        indexes = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam "
        indexes += f"WHERE c.relkind = 'i' AND a.amname = 'btree' AND c.relnamespace = '{SCHEMA}'::regnamespace"
        damaged: list[str] = []
        for (index,) in self.ask(indexes):
            try:
                self.ask("SELECT bt_index_check(?::text::regclass, true)", index)
            except asyncpg.PostgresError as error:
                damaged.append(f"{index}: {error}")
        return ", ".join(damaged) or "ok"

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, asking: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result()

    async def _ask(self, question: str, values: tuple[object, ...]) -> list[Row]:
        async with self._turn:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self.address)
                return [tuple(row) for row in await self._connection.fetch(question, *values)]
            except AWAY as error:
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
                raise Away(str(error) or type(error).__name__) from error


async def connect(address: str) -> asyncpg.Connection:
    """One that finds the engine's tables, and its user's, by their bare names."""
    settings = {"search_path": f"{SCHEMA}, public"}
    return await asyncpg.connect(
        address, timeout=5, command_timeout=60, statement_cache_size=0, server_settings=settings
    )


AWAY = (
    OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError, asyncpg.InternalClientError,
)  # fmt: skip
"""What a driver says when the database cannot do its work now; a wrong question is something else. (The last one is
what asyncpg says now and then of a connection that broke in the middle of an answer.)"""

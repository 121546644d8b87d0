"""Where in a store a word can still be found: in its rows, in its files, on either database.

In PostgreSQL `rows` are those of every table that the database has, the server's catalogs with them, and `files` are
those of the database after a checkpoint. (The write-ahead log is the whole server's: tests that search it have a
server of their own.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg

from motet.runtime.pruning import retaining
from motet.store.payloads import TABLES
from motet.store.protocol import Store

ALL_TABLES = """SELECT format('%I.%I', nspname, relname) FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND (nspname IN ('motet', 'public') OR relname = 'pg_statistic')"""
FOLDER = """SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database
    WHERE datname = current_database()"""


async def rows(address: str, words: str) -> list[str]:
    """The tables in whose rows these words are."""
    if address.startswith("sqlite:///"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"))
        try:
            return [line for line in connection.iterdump() if words in line]
        finally:
            connection.close()
    server = await asyncpg.connect(address)
    try:
        tables = [row[0] for row in await server.fetch(ALL_TABLES)]
        asked = "SELECT EXISTS (SELECT 1 FROM {0} AS one WHERE strpos(one::text, $1) > 0)"
        return [table for table in tables if await server.fetchval(asked.format(table), words)]
    finally:
        await server.close()


async def files(address: str, words: str) -> list[str]:
    """The files in which these words are."""
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        found = path.parent.glob(f"{path.name}*")
    else:
        server = await asyncpg.connect(address)
        await server.execute("CHECKPOINT")
        found = Path(await server.fetchval(FOLDER)).iterdir()
        await server.close()
    return [file.name for file in found if words.encode() in file.read_bytes()]


async def sample(address: str) -> None:
    """What PostgreSQL does by itself sooner or later: it keeps samples of what tables hold, for its plans."""
    if address.startswith("postgresql"):
        server = await asyncpg.connect(address)
        await server.execute("ANALYZE")
        await server.close()


async def write_anew(store: Store, address: str) -> None:
    """Without what was there before, as the docs say for each database."""
    if address.startswith("sqlite:///"):
        await retaining(store).compact()
        return
    server = await asyncpg.connect(address)
    for table in TABLES:
        await server.execute(f"VACUUM FULL motet.{table}")
    await server.close()


@asynccontextmanager
async def transaction(address: str) -> AsyncGenerator[Any]:
    """A connection of the user's in a transaction, which is committed in the end."""
    if address.startswith("sqlite:///"):
        with closing(sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level="")) as connection, connection:
            yield connection
        return
    server = await asyncpg.connect(address)
    try:
        async with server.transaction():
            yield server
    finally:
        await server.close()

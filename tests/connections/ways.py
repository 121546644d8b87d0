"""All the ways in which a user can have a transaction: each opens one, writes in it, and ends it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import django.db
import psycopg
from django.conf import settings
from django.db import connections, transaction
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

INSERT = "INSERT INTO orders VALUES ('o1')"


class Mine(NamedTuple):
    """A transaction of the user's: `conn` is what is given to Motet."""

    conn: Any
    write: Callable[[], Awaitable[Any]]
    commit: Callable[[], Awaitable[Any]]
    roll_back: Callable[[], Awaitable[Any]]


Way = Callable[[str], AbstractAsyncContextManager[Mine]]


def path_of(address: str) -> str:
    return address.removeprefix("sqlite:///")


def sqlalchemy_url(address: str, driver: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{scheme}+{driver}://{rest}"


def awaitable(function: Callable[..., Any], *args: Any) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        return function(*args)

    return call


# --- sqlite3 and the drivers of PostgreSQL --------------------------------------------------------------------


@asynccontextmanager
async def by_sqlite3(address: str) -> AsyncGenerator[Mine]:
    conn = sqlite3.connect(path_of(address))
    try:
        yield Mine(conn, awaitable(conn.execute, INSERT), awaitable(conn.commit), awaitable(conn.rollback))
    finally:
        conn.close()


@asynccontextmanager
async def by_asyncpg(address: str) -> AsyncGenerator[Mine]:
    conn = await asyncpg.connect(address)
    try:
        begun = conn.transaction()
        await begun.start()
        yield Mine(conn, lambda: conn.execute(INSERT), begun.commit, begun.rollback)
    finally:
        await conn.close()


@asynccontextmanager
async def by_a_pool_of_asyncpg(address: str) -> AsyncGenerator[Mine]:
    async with asyncpg.create_pool(address, min_size=1, max_size=1) as pool, pool.acquire() as conn:
        begun = conn.transaction()
        await begun.start()
        yield Mine(conn, lambda: conn.execute(INSERT), begun.commit, begun.rollback)


@asynccontextmanager
async def by_psycopg(address: str) -> AsyncGenerator[Mine]:
    with psycopg.connect(address, row_factory=psycopg.rows.dict_row) as conn:
        yield Mine(conn, awaitable(conn.execute, INSERT), awaitable(conn.commit), awaitable(conn.rollback))


@asynccontextmanager
async def by_psycopg_async(address: str) -> AsyncGenerator[Mine]:
    async with await psycopg.AsyncConnection.connect(address, row_factory=psycopg.rows.dict_row) as conn:
        yield Mine(conn, lambda: conn.execute(INSERT), conn.commit, conn.rollback)


# --- SQLAlchemy -----------------------------------------------------------------------------------------------


@contextmanager
def an_engine(address: str) -> Generator[Any]:
    url = address if address.startswith("sqlite") else sqlalchemy_url(address, "psycopg")
    engine = create_engine(url, poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


@asynccontextmanager
async def an_async_engine(address: str, driver: str) -> AsyncGenerator[Any]:
    engine = create_async_engine(sqlalchemy_url(address, driver), poolclass=NullPool)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def by_a_session(address: str) -> AsyncGenerator[Mine]:
    with an_engine(address) as engine, Session(engine) as conn:
        yield Mine(conn, awaitable(conn.execute, text(INSERT)), awaitable(conn.commit), awaitable(conn.rollback))


@asynccontextmanager
async def by_a_scoped_session(address: str) -> AsyncGenerator[Mine]:
    with an_engine(address) as engine:
        conn = scoped_session(sessionmaker(engine))
        yield Mine(conn, awaitable(conn.execute, text(INSERT)), awaitable(conn.commit), awaitable(conn.rollback))
        conn.remove()


@asynccontextmanager
async def by_a_connection(address: str) -> AsyncGenerator[Mine]:
    with an_engine(address) as engine, engine.connect() as conn:
        yield Mine(conn, awaitable(conn.execute, text(INSERT)), awaitable(conn.commit), awaitable(conn.rollback))


def by_an_async_session(driver: str) -> Way:
    @asynccontextmanager
    async def way(address: str) -> AsyncGenerator[Mine]:
        async with an_async_engine(address, driver) as engine, AsyncSession(engine) as conn:
            yield Mine(conn, lambda: conn.execute(text(INSERT)), conn.commit, conn.rollback)

    return way


@asynccontextmanager
async def by_an_async_scoped_session(address: str) -> AsyncGenerator[Mine]:
    async with an_async_engine(address, "asyncpg") as engine:
        conn = async_scoped_session(async_sessionmaker(engine), scopefunc=lambda: 1)
        yield Mine(conn, lambda: conn.execute(text(INSERT)), conn.commit, conn.rollback)
        await conn.remove()


def by_an_async_connection(driver: str) -> Way:
    @asynccontextmanager
    async def way(address: str) -> AsyncGenerator[Mine]:
        async with an_async_engine(address, driver) as engine, engine.connect() as conn:
            yield Mine(conn, lambda: conn.execute(text(INSERT)), conn.commit, conn.rollback)

    return way


# --- Django ---------------------------------------------------------------------------------------------------


@contextmanager
def django_on(address: str) -> Generator[Any]:
    """`django.db.connection` leads to this database."""
    if not settings.configured:
        settings.configure()
        django.setup()
    if address.startswith("sqlite"):
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": path_of(address)}
    else:
        parts = urlsplit(address)
        database = {
            "ENGINE": "django.db.backends.postgresql", "NAME": parts.path.strip("/"), "USER": parts.username,
            "PASSWORD": parts.password or "", "HOST": parts.hostname, "PORT": parts.port,
        }  # fmt: skip
    connections.settings = connections.configure_settings({"default": database})
    try:
        yield django.db.connection
    finally:
        connections["default"].close()
        del connections["default"]


class Undone(Exception):
    """Ends a block of `transaction.atomic`."""


@asynccontextmanager
async def by_django(address: str) -> AsyncGenerator[Mine]:
    """Only to be used where no event loop runs: Django says so itself."""
    with django_on(address) as conn:
        block = transaction.atomic()
        block.__enter__()

        def write() -> None:
            with conn.cursor() as cursor:
                cursor.execute(INSERT)

        def roll_back() -> None:
            block.__exit__(Undone, Undone(), None)

        yield Mine(conn, awaitable(write), awaitable(block.__exit__, None, None, None), awaitable(roll_back))


ON_FILE: dict[str, Way] = {
    "sqlite3": by_sqlite3,
    "session": by_a_session,
    "scoped session": by_a_scoped_session,
    "connection": by_a_connection,
    "async session": by_an_async_session("aiosqlite"),
    "async connection": by_an_async_connection("aiosqlite"),
}

ON_POSTGRES: dict[str, Way] = {
    "asyncpg": by_asyncpg,
    "pool of asyncpg": by_a_pool_of_asyncpg,
    "psycopg": by_psycopg,
    "psycopg async": by_psycopg_async,
    "session": by_a_session,
    "scoped session": by_a_scoped_session,
    "connection": by_a_connection,
    "async session on asyncpg": by_an_async_session("asyncpg"),
    "async session on psycopg": by_an_async_session("psycopg"),
    "async scoped session": by_an_async_scoped_session,
    "async connection on asyncpg": by_an_async_connection("asyncpg"),
    "async connection on psycopg": by_an_async_connection("psycopg"),
}

SYNC = {"sqlite3", "psycopg", "session", "scoped session", "connection"}
"""Those whose connections block."""

"""What is started and published inside a transaction of the user's: with it or not at all, whatever driver it is of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg
import psycopg
import pytest
from django.db import transaction
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import sessionmaker

from motet import App, RunExists, RunNotFound
from motet.errors import WrongPlace, WrongType
from tests.connections.conftest import make_app, make_table, orders, published, until_published
from tests.connections.ways import (
    INSERT,
    ON_FILE,
    ON_POSTGRES,
    SYNC,
    Undone,
    Way,
    an_async_engine,
    an_engine,
    django_on,
    sqlalchemy_url,
)  # fmt: skip

T = TypeVar("T")

EVERY = [
    *(pytest.param("SQLite", way, id=f"SQLite-{name}") for name, way in ON_FILE.items()),
    *(pytest.param("PostgreSQL", way, id=f"PostgreSQL-{name}") for name, way in ON_POSTGRES.items()),
]
every_way = pytest.mark.parametrize(("address", "way"), EVERY, indirect=["address"])


@every_way
async def test_what_is_committed_happens(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.worker(), way(address) as mine:
        await mine.write()
        event = await app.publish("order.placed", {"n": 1, "text": "100 % of it: yes"}, key="o1", conn=mine.conn)
        run = await app.start("fulfil", "o1", id="o1", conn=mine.conn)
        with pytest.raises(RunNotFound):
            await app.status("o1")
        assert await published(app) == []
        await mine.commit()
        assert await run.result() == "o1 was shipped", "a worker sees it by itself"
        assert await until_published(app, 1) == [("order.placed", "o1")]
        assert (await app.client.store.events(0, 9))[0].id == event
    assert await orders(address) == ["o1"]


@every_way
async def test_what_is_rolled_back_has_never_been(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.worker(), way(address) as mine:
        await mine.write()
        await app.publish("order.placed", key="o1", conn=mine.conn)
        await app.publish("order.placed", key="o1", id="once", conn=mine.conn)
        await app.start("fulfil", "o1", id="o1", conn=mine.conn)
        await mine.roll_back()
        assert await app.runs() == []
        await app.publish("after", id="once")
        assert await published(app) == [("after", None)], "its id was not taken either"
    assert await orders(address) == []


@every_way
async def test_an_error_takes_back_our_part_and_leaves_theirs(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.worker(), way(address) as mine:
        await (await app.start("fulfil", "o1", id="o1")).result()
        await mine.write()
        with pytest.raises(RunExists, match="with another input"):
            await app.start("fulfil", "o2", id="o1", conn=mine.conn)
        with pytest.raises(RunExists, match="fulfil"):
            await app.start("other", "o1", id="o1", conn=mine.conn)
        again = await app.start("fulfil", "o1", id="o1", conn=mine.conn)
        await mine.commit()
        assert [run.uid for run in await app.runs()] == [again.uid]
    assert await orders(address) == ["o1"]


@every_way
async def test_the_same_id_twice_publishes_once(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.worker(), way(address) as mine:
        for _ in range(2):
            await app.publish("paid", {"n": 1}, key="o1", id="payment-1", conn=mine.conn)
        await mine.commit()
        await app.publish("paid", {"n": 1}, key="o1", id="payment-1")
        await app.publish("last")
        assert await until_published(app, 2) == [("paid", "o1"), ("last", None)]


@pytest.mark.parametrize(
    ("address", "way"),
    [
        *(pytest.param("SQLite", ON_FILE[name], id=f"SQLite-{name}") for name in ON_FILE if name in SYNC),
        *(pytest.param("PostgreSQL", ON_POSTGRES[n], id=f"PostgreSQL-{n}") for n in ON_POSTGRES if n in SYNC),
    ],
    indirect=["address"],
)  # fmt: skip
async def test_the_synchronous_face_takes_those_that_block(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.worker(), way(address) as mine:
        app.sync.publish("order.placed", key="o1", conn=mine.conn)
        assert app.sync.start("fulfil", "o1", id="o1", conn=mine.conn) == "o1"
        await mine.commit()
        assert await app.result("o1") == "o1 was shipped"
        assert await until_published(app, 1) == [("order.placed", "o1")]


@pytest.mark.parametrize(
    ("address", "way"),
    [
        *(pytest.param("SQLite", ON_FILE[name], id=f"SQLite-{name}") for name in ON_FILE if name not in SYNC),
        *(pytest.param("PostgreSQL", ON_POSTGRES[n], id=f"PostgreSQL-{n}") for n in ON_POSTGRES if n not in SYNC),
    ],
    indirect=["address"],
)  # fmt: skip
async def test_but_not_those_that_are_awaited(address: str, way: Way) -> None:
    app = make_app(address)
    async with app.connect(), way(address) as mine:
        with pytest.raises(WrongPlace, match="must be awaited, and app.sync does not await; use the async verb"):
            app.sync.publish("order.placed", key="o1", conn=mine.conn)
        await mine.roll_back()


# --- Django, which does not work where an event loop runs ------------------------------------------------------


async def in_a_thread(function: Callable[[], T]) -> T:
    return await asyncio.to_thread(function)


async def test_djangos_connection(address: str) -> None:
    app = make_app(address)

    def requests() -> None:
        with django_on(address) as conn:
            with transaction.atomic():
                with conn.cursor() as cursor:
                    cursor.execute(INSERT)
                app.sync.publish("order.placed", {"text": "100 %"}, key="o1", conn=conn)
                with transaction.atomic():
                    app.sync.start("fulfil", "o1", id="o1", conn=conn)
            with suppress(Undone), transaction.atomic():
                app.sync.publish("order.placed", key="o2", conn=conn)
                app.sync.start("fulfil", "o2", id="o2", conn=conn)
                raise Undone
            with transaction.atomic():
                with pytest.raises(RunExists):
                    app.sync.start("fulfil", "other", id="o1", conn=conn)
                app.sync.publish("order.placed", key="o3", conn=conn)

    async with app.worker():
        await in_a_thread(requests)
        assert await app.result("o1") == "o1 was shipped"
        assert await until_published(app, 2) == [("order.placed", "o1"), ("order.placed", "o3")]
        assert [run.id for run in await app.runs()] == ["o1"]
    assert await orders(address) == ["o1"]


async def test_djangos_connection_outside_of_a_transaction_is_refused(address: str) -> None:
    app = make_app(address)

    def request() -> None:
        words = "call this inside 'with transaction.atomic"
        with django_on(address) as conn, pytest.raises(WrongPlace, match=words):
            app.sync.publish("order.placed", conn=conn)

    async with app.connect():
        await in_a_thread(request)
        assert await published(app) == []


# --- what cannot be meant --------------------------------------------------------------------------------------


async def refused(app: App, conn: Any, kind: type[Exception], words: str) -> None:
    for act in (
        lambda: app.publish("order.placed", conn=conn), lambda: app.start("fulfil", "o1", id="o1", conn=conn),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            await act()
    assert await app.runs() == []
    assert await published(app) == []


async def test_a_connection_that_commits_by_itself_is_refused(postgres_address: str) -> None:
    app = make_app(postgres_address)
    async with app.connect():
        conn = await asyncpg.connect(postgres_address)
        await refused(app, conn, WrongPlace, "commits each statement by itself and has no transaction now; begin one")
        async with conn.transaction():
            await app.publish("order.placed", conn=conn)
            raise_nothing = await conn.fetchval("SELECT 1")
        assert raise_nothing == 1
        await conn.close()


@pytest.mark.parametrize("family", ["psycopg", "psycopg async", "connection", "async connection"])
async def test_so_is_one_that_was_told_to(postgres_address: str, family: str) -> None:
    app = make_app(postgres_address)
    words = "commits each statement by itself and has no transaction now"
    async with app.connect():
        if family == "psycopg":
            with psycopg.connect(postgres_address, autocommit=True) as plain:
                await refused(app, plain, WrongPlace, words)
                with plain.transaction():
                    await app.publish("begun", conn=plain)
        elif family == "psycopg async":
            async with await psycopg.AsyncConnection.connect(postgres_address, autocommit=True) as awaited:
                await refused(app, awaited, WrongPlace, words)
        elif family == "connection":
            with an_engine(postgres_address) as engine, engine.connect() as made:
                await refused(app, made.execution_options(isolation_level="AUTOCOMMIT"), WrongPlace, words)
        else:
            async with an_async_engine(postgres_address, "asyncpg") as engine, engine.connect() as made:
                conn = await made.execution_options(isolation_level="AUTOCOMMIT")
                await refused(app, conn, WrongPlace, words)


async def test_another_database_is_refused(postgres: Any, postgres_address: str, file_address: str) -> None:
    elsewhere = postgres.make()
    app, neighbour = make_app(postgres_address), make_app(elsewhere)
    bare = postgres.make()
    async with app.connect(), neighbour.connect():
        for address in (elsewhere, bare):
            async with ON_POSTGRES["asyncpg"](address) as mine:
                await refused(app, mine.conn, WrongPlace, "a connection to another database than the store's")
                await mine.roll_back()
        async with ON_FILE["sqlite3"](file_address) as mine:
            await refused(
                app, mine.conn, WrongPlace, "conn is a connection to a SQLite file, and the store is postgres"
            )
        async with ON_FILE["async session"](file_address) as mine:
            await refused(
                app, mine.conn, WrongPlace, "conn is a connection to a SQLite file, and the store is postgres"
            )
    on_file = make_app(file_address)
    async with on_file.connect():
        for way in (ON_POSTGRES["asyncpg"], ON_POSTGRES["psycopg"], ON_POSTGRES["async session on asyncpg"]):
            async with way(postgres_address) as mine:
                await refused(
                    on_file, mine.conn, WrongPlace, "conn is a connection to PostgreSQL, and the store is sqlite"
                )


async def test_what_is_no_connection_is_refused(postgres_address: str) -> None:
    app = make_app(postgres_address)
    engine = create_engine(sqlalchemy_url(postgres_address, "psycopg"))
    async_engine = create_async_engine(sqlalchemy_url(postgres_address, "asyncpg"))
    async with app.connect(), asyncpg.create_pool(postgres_address, min_size=0) as pool:
        for wrong, name in (
            (postgres_address, "str"), (engine, "sqlalchemy.engine.base.Engine"),
            (async_engine, "AsyncEngine"), (sessionmaker(engine), "sessionmaker"), (pool, "asyncpg.pool.Pool"),
            (text("SELECT 1"), "TextClause"),
        ):  # fmt: skip
            await refused(app, wrong, WrongType, f"conn is a .*{name}; give the connection or session itself in which")
    engine.dispose()
    await async_engine.dispose()


async def test_a_program_that_is_not_connected_writes_with_its_own_connection_alone(address: str) -> None:
    """As a web process does that only starts runs."""
    app, worker = make_app(address), make_app(address)
    async with worker.worker():
        way = ON_POSTGRES["psycopg"] if address.startswith("postgres") else ON_FILE["sqlite3"]
        async with way(address) as mine:
            app.sync.publish("order.placed", key="o1", conn=mine.conn)
            app.sync.start("fulfil", "o1", id="o1", conn=mine.conn)
            await mine.commit()
        assert await worker.result("o1") == "o1 was shipped"
        assert await until_published(worker, 1) == [("order.placed", "o1")]
    await make_table(address)


# On PostgreSQL; SQLAlchemy gives a connection up whose call is cancelled, and the transaction with it.
AWAITED = [
    pytest.param("PostgreSQL", way, ["o1"] if by_itself else [], id=name)
    for name, way in ON_POSTGRES.items()
    if (by_itself := "asyncpg" in name.removesuffix("on asyncpg") or name == "psycopg async") or "async" in name
]


@pytest.mark.parametrize(("address", "way", "left"), AWAITED, indirect=["address"])
async def test_who_is_cancelled_in_the_middle_keeps_what_is_theirs_and_nothing_of_ours(
    address: str, way: Way, left: list[str]
) -> None:
    """And no generator is left to complain."""
    app = make_app(address)
    async with app.connect(), way(address) as mine:
        await mine.write()
        other = await asyncpg.connect(address)
        holding = other.transaction()
        await holding.start()
        await other.execute("INSERT INTO motet.published (id, at) VALUES ('shop once', 1)")
        publishing = asyncio.ensure_future(app.publish("order.placed", key="o1", id="once", conn=mine.conn))
        async with asyncio.timeout(20):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not publishing.done(), "it does not wait for the id"
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        gc.collect()
        await holding.rollback()
        with suppress(Exception):  # of a driver that has given the connection up
            await mine.commit()
        assert await other.fetchval("SELECT count(*) FROM motet.outbox") == 0
        assert await other.fetchval("SELECT count(*) FROM motet.published") == 0
        await other.close()
    assert await orders(address) == left

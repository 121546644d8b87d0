"""Deliveries in transactions when the store is away, when a commit's reply is lost, and when their time is over."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from sqlite3 import Connection
from typing import Any

import pytest

from motet import Event, Retry
from motet.errors import StoreUnavailable
from motet.store.mutations import Mutation
from motet.store.protocol import DeliveryFilter
from motet.store.sqlite.transacting import SqliteTransaction
from tests.stories.conftest import ONCE, PATIENCE_SECONDS, QUICK, Shop

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the store looks again soon."""
    monkeypatch.setattr("motet.runtime.insisting.FIRST_WAIT", 0.001)


@pytest.fixture
def booked(shop: Shop) -> list[str]:
    """The keys of the events that handlers were called for."""
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("CREATE TABLE book (id TEXT)")
    return []


def book_of(shop: Shop) -> list[str]:
    with closing(sqlite3.connect(shop.path)) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM book ORDER BY id")]


def write(connection: Connection, event: Event[Any]) -> None:
    connection.execute("INSERT INTO book VALUES (?)", (event.key,))
    event.publish("booked")


async def until_told(shop: Shop, *keys: str) -> None:
    """That these were booked, each once."""

    async def told() -> bool:
        rows = await shop.client.store.events(0, 100)
        return sorted(str(row.subject) for row in rows if row.type == "booked") == [*keys]

    await shop.until(told)


async def nothing_is_left(shop: Shop) -> bool:
    """No attempt was counted, and nothing is a dead letter."""
    (cursor,) = await shop.client.store.cursors()
    left = DeliveryFilter(states=("running", "retrying", "waiting", "parked", "held"))
    return not cursor.failed and not await shop.client.store.deliveries(left)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_the_reply_to_the_commit_is_lost(
    shop: Shop, booked: list[str], monkeypatch: pytest.MonkeyPatch, committed: bool, kind: str
) -> None:
    """Whether it was delivered is read from the store: the handler is called again only if not."""
    replies = iter([False])
    commit = SqliteTransaction.commit

    async def lose_the_reply(transaction: SqliteTransaction, unit: list[Mutation]) -> None:
        answered = next(replies, True)
        if answered or committed:
            await commit(transaction, unit)
        if not answered:
            await transaction.roll_back()
            raise StoreUnavailable("the line is dead")

    monkeypatch.setattr(SqliteTransaction, "commit", lose_the_reply)

    def book(event: Event[Any], connection: Connection) -> None:
        booked.append(str(event.key))
        write(connection, event)

    async def book_awaiting(event: Event[Any], connection: Connection) -> None:
        book(event, connection)

    shop.on("paid", transaction=True, retry=ONCE, name="book")(book if kind == "plain" else book_awaiting)
    async with shop.worker():
        for key in "ab":
            await shop.publish("paid", key=key)
        await until_told(shop, "a", "b")
        assert await nothing_is_left(shop)
    assert book_of(shop) == ["a", "b"]
    assert len(booked) == (2 if committed else 3)


async def test_the_reply_is_lost_to_one_that_had_a_row(
    shop: Shop, booked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has failed before, and the position has passed it: when it is done, nothing is left of it."""
    replies = iter([False])
    commit = SqliteTransaction.commit

    async def lose_the_reply(transaction: SqliteTransaction, unit: list[Mutation]) -> None:
        await commit(transaction, unit)
        if not next(replies, True):
            raise StoreUnavailable("the line is dead")

    monkeypatch.setattr(SqliteTransaction, "commit", lose_the_reply)

    @shop.on("paid", transaction=True, retry=QUICK)
    def book(event: Event[Any], connection: Connection) -> None:
        booked.append(str(event.key))
        if len(booked) == 1:
            raise OSError("once")
        write(connection, event)

    async with shop.worker():
        await shop.publish("paid", key="a")
        await until_told(shop, "a")
        await shop.publish("paid", key="b")
        await until_told(shop, "a", "b")
    assert book_of(shop) == ["a", "b"] and booked == ["a", "a", "b"]


async def test_a_store_that_is_away_costs_no_attempt(
    shop: Shop, booked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, away = SqliteTransaction.begin, iter([True] * 5)

    async def sometimes(transaction: SqliteTransaction) -> Connection:
        if next(away, False):
            raise StoreUnavailable("away")
        return await begin(transaction)

    monkeypatch.setattr(SqliteTransaction, "begin", sometimes)

    @shop.on("paid", transaction=True, retry=ONCE)
    def book(event: Event[Any], connection: Connection) -> None:
        booked.append(str(event.key))
        write(connection, event)
        if len(booked) < 3:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    async with shop.worker():
        await shop.publish("paid", key="a")
        await until_told(shop, "a")
        assert await nothing_is_left(shop)
    assert book_of(shop) == ["a"] and len(booked) == 3


async def test_what_always_looks_like_an_outage_is_the_handlers_fault(shop: Shop, booked: list[str]) -> None:
    @shop.on("paid", transaction=True, retry=ONCE)
    def book(event: Event[Any], connection: Connection) -> None:
        error = sqlite3.OperationalError("no end of it")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    async with shop.worker():
        await shop.publish("paid", key="a")

        async def parked() -> bool:
            return [letter.error_type for letter in await shop.dead_letters()] == ["OperationalError"]

        await shop.until(parked)
    assert book_of(shop) == []


async def test_an_event_that_cannot_be_read_now_costs_no_attempt(
    shop: Shop, booked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left behind by an earlier owner is read from the log when its turn comes."""

    @shop.on("paid", retry=Retry(attempts=2, first=0.001, jitter=0))
    async def note(event: Event[Any]) -> None:
        booked.append(str(event.key))
        if len(booked) == 1:
            raise OSError("once")

    async with shop.worker():
        store = shop.client.store
        events_at, away = store.events_at, iter([True] * 3)

        async def sometimes(positions: list[int]) -> Any:
            if next(away, False):
                raise StoreUnavailable("away")
            return await events_at(positions)

        monkeypatch.setattr(store, "events_at", sometimes)
        await shop.publish("paid", key="a")

        async def done() -> bool:
            return len(booked) == 2

        await shop.until(done)
    assert booked == ["a", "a"]


async def test_a_plain_handler_whose_time_is_over_writes_nothing_more(shop: Shop, booked: list[str]) -> None:
    """It goes on in its thread, but its transaction is over."""
    late, gate = threading.Event(), threading.Event()

    @shop.on("paid", transaction=True, retry=QUICK, timeout=0.2)
    def book(event: Event[Any], connection: Connection) -> None:
        booked.append(str(event.key))
        if len(booked) == 1:
            gate.wait(PATIENCE_SECONDS)
            try:
                write(connection, event)
            finally:
                late.set()
            return
        write(connection, event)

    async with shop.worker():
        await shop.publish("paid", key="a")
        await until_told(shop, "a")
        gate.set()
        await asyncio.to_thread(late.wait, PATIENCE_SECONDS)
        await shop.publish("paid", key="b")
        await until_told(shop, "a", "b")
    assert book_of(shop) == ["a", "b"] and booked == ["a", "a", "b"]


async def test_the_time_of_a_delivery_is_not_over_in_its_commit(
    shop: Shop, booked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = SqliteTransaction.commit
    reached, gate = asyncio.Event(), asyncio.Event()

    async def slowly(transaction: SqliteTransaction, unit: list[Mutation]) -> None:
        reached.set()
        await gate.wait()
        await commit(transaction, unit)

    monkeypatch.setattr(SqliteTransaction, "commit", slowly)

    @shop.on("paid", transaction=True, retry=ONCE, timeout=0.05)
    async def book(event: Event[Any], connection: Connection) -> None:
        booked.append(str(event.key))
        write(connection, event)

    @shop.on("paid", retry=ONCE, timeout=0.1)
    async def later(event: Event[Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    over = asyncio.Event()
    async with shop.worker():
        await shop.publish("paid", key="a")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await reached.wait()
            await over.wait()  # a longer time that began with it is over
        gate.set()
        await until_told(shop, "a")
    assert booked == ["a"] and book_of(shop) == ["a"]

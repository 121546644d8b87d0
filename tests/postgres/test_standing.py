"""A process that is stopped between a statement's text and its values: the server waits for it without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import asyncpg
import pytest

from motet import Settings
from motet.errors import StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.mutations import AppendEvent
from motet.store.open import store_at
from motet.store.postgres.log import LOCK_NUMBER
from motet.store.protocol import Store, Ticket
from motet.testing.conformance.setting import NOW, Scribe

LEASE_SECONDS = 4.0
"""Half of it must be longer than a busy machine takes from a beginning to the look at it."""
PATIENCE_SECONDS = 30
IDLE = f"SET LOCAL idle_in_transaction_session_timeout = {round(LEASE_SECONDS * 500)}"
ITS_BATCH = "UPDATE motet.worker SET batch = batch + 1 WHERE id = {}"
THE_LOG = f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"
BY_A_USER = "UPDATE motet.run SET wake_at = 0 WHERE false"


@pytest.fixture
async def store(postgres_address: str) -> AsyncGenerator[Store]:
    opened = store_at(postgres_address, SYSTEM, Settings(lease_seconds=LEASE_SECONDS))
    await opened.open(create=True)
    yield opened
    await opened.close()


@pytest.fixture
async def stopped(postgres_address: str) -> AsyncGenerator[Callable[[str], Awaitable[asyncpg.Connection]]]:
    """Begins transactions that come to stand still: each has a statement prepared, and never sends its values."""
    opened: list[asyncpg.Connection] = []

    async def stop_behind(statement: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(postgres_address)
        opened.append(connection)
        await connection.execute(f"BEGIN; {IDLE}; {statement}")
        await connection.prepare("SELECT $1::int")
        return connection

    yield stop_behind
    for connection in opened:
        connection.terminate()


async def test_a_worker_is_buried_although_its_session_holds_its_row(
    store: Store, stopped: Callable[[str], Awaitable[asyncpg.Connection]]
) -> None:
    dead = await Scribe.register(store, "dead")
    await stopped(ITS_BATCH.format(dead.id))
    assert not await store.bury(dead.id, 0), "its batch is on its way, and may be yet"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await store.bury(dead.id, 0):
            pass
    assert [row.id for row in await store.workers()] == []


async def test_others_write_to_the_log_although_its_session_holds_that(
    store: Store, stopped: Callable[[str], Awaitable[asyncpg.Connection]]
) -> None:
    alive = await Scribe.register(store, "alive")
    await stopped(THE_LOG)
    event = AppendEvent("e-1", "outside", "told", "k", NOW, NOW, "talk", None, "1")

    async def write() -> None:
        while True:
            try:
                await alive.write(event)
                return
            except StoreUnavailable:
                continue

    async def beat() -> None:
        """As a worker's heart does, whose own row is held by its batch."""
        while True:
            try:
                assert await store.beat(alive.id)
            except StoreUnavailable:
                continue

    beating = asyncio.create_task(beat())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await write()
    beating.cancel()
    assert [one.id for one in await store.events(0, 10)] == ["e-1"]


async def test_who_does_something_else_or_has_only_begun_to_is_left_alone(
    store: Store, stopped: Callable[[str], Awaitable[asyncpg.Connection]]
) -> None:
    worker, dead = await Scribe.register(store, "slow"), await Scribe.register(store, "dead")
    user = await stopped(BY_A_USER)
    await stopped(ITS_BATCH.format(dead.id))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await store.bury(dead.id, 0):
            pass
    late = await stopped(ITS_BATCH.format(worker.id))
    assert not await store.bury(worker.id, 0)
    for connection in (user, late):
        assert await connection.fetchval("SELECT 1") == 1
    await late.execute("COMMIT")
    assert not await store.bury(worker.id, 0), "it has moved"
    assert await store.commit([], Ticket("t")) is not None

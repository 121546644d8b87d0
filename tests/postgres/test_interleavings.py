"""What two transactions may not do to each other, in the one order of events in which it would show.

Each is held where it matters by somebody else's locks, and waited for there: nothing rests on being quick.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import asyncpg
import pytest

from motet import Settings
from motet.model.clock import SYSTEM
from motet.store.mutations import PutInbox, RegisterWait
from motet.store.open import store_at
from motet.store.postgres.tending import MOVING
from motet.store.protocol import Store
from motet.testing.conformance.records import a_fact, an_event, owned_run
from motet.testing.conformance.setting import Scribe, a_ticket

PATIENCE_SECONDS = 30
SETTINGS = Settings(lease_seconds=600)
"""Long, so that the server lets everybody be held for as long as a test takes."""

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


@pytest.fixture
async def outside(store: Store, postgres_address: str) -> AsyncGenerator[Outside]:
    connection = await asyncpg.connect(postgres_address)
    yield Outside(connection, postgres_address)
    await connection.close()


@pytest.fixture
async def store(postgres_address: str) -> AsyncGenerator[Store]:
    opened = store_at(postgres_address, SYSTEM, SETTINGS)
    await opened.open(create=True)
    yield opened
    await opened.close()


@pytest.fixture
async def other(store: Store, postgres_address: str) -> AsyncGenerator[Store]:
    """Another process's."""
    opened = store_at(postgres_address, SYSTEM, SETTINGS)
    await opened.open(create=False)
    yield opened
    await opened.close()


def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(work)


async def test_whose_batch_is_on_its_way_is_not_buried(store: Store, other: Store, outside: Outside) -> None:
    """The fence is a lock: between looking at it and committing, nobody can declare the worker dead."""
    worker = await Scribe.register(store)
    run = owned_run(worker.id)
    await worker.write(run)
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1)))
    await outside.until_waiting(1)
    counter = (await other.workers())[0].counter
    assert not await other.bury(worker.id, counter)
    await holding.rollback()
    await batch
    assert [row.batch for row in await other.workers()] == [2]


async def test_a_reader_that_has_passed_a_position_never_finds_an_earlier_one_filled(
    store: Store, other: Store, outside: Outside
) -> None:
    """One batch with an event is on its way for long; another one that began later is committed first."""
    worker, later = await Scribe.register(store), await Scribe.register(other)
    run = owned_run(worker.id)
    await worker.write(run)
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1), an_event("slow")))
    await outside.until_waiting(1)
    await later.write(an_event("quick"))
    (seen,) = await other.events(0, 10)
    await holding.rollback()
    await batch
    assert [event.data for event in await other.events(seen.position, 10)] == ['"slow"']


async def test_what_is_published_in_transactions_of_ones_own_keeps_its_order(
    store: Store, other: Store, outside: Outside
) -> None:
    """Whoever moves it into the log takes all of it, and not what another one has left."""
    worker, later = await Scribe.register(store), await Scribe.register(other)
    run = owned_run(worker.id)
    await worker.write(run)
    await outside.connection.execute("SELECT pg_advisory_lock($1::bigint)", MOVING)  # nobody does it by the way
    await outside.publish("one", "1")
    holding = await outside.hold_fact(run.uid, 1)
    batch = begun(worker.write(a_fact(run, 1), an_event()))
    await outside.until_waiting(1)
    await outside.publish("two", "2")
    await later.write(an_event())
    await holding.rollback()
    await batch
    assert [event.data for event in await other.events(0, 10) if event.type == "sold"] == ["1", "2"]


HELD_COMMIT = """
    CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER held AFTER INSERT ON motet.wait DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION held()"""


async def test_of_a_wait_and_its_event_the_second_one_finds_the_first(
    store: Store, other: Store, outside: Outside
) -> None:
    """The wait has looked and is just being committed when the event comes."""
    worker = await Scribe.register(store)
    run = owned_run(worker.id)
    await worker.write(run)
    await outside.connection.execute(HELD_COMMIT)
    await outside.connection.execute("SELECT pg_advisory_lock(42)")
    wait = RegisterWait(run.uid, "1.paid#1", "k", json.dumps({"paid": [0]}))
    batch = begun(worker.write(wait))
    await outside.until_waiting(1)
    event = begun(other.commit([[an_event(type="paid", subject="k")]], a_ticket()))
    await outside.until_waiting(2, unless=event)
    await outside.connection.execute("SELECT pg_advisory_unlock(42)")
    await batch
    await event
    told: list[PutInbox] = await other.inbox(worker.id)
    assert [message.kind for message in told] == ["event"]

"""Published in a transaction of the user's: on its way into the log, the oldest first, once, and only if it commits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import asyncpg
import pytest

from motet.errors import StoreMissing, StoreRejected, WrongPlace
from motet.model.clock import SYSTEM
from motet.model.event import EventRow
from motet.runtime.pruning import Pruner
from motet.store.mutations import AppendOnce, Mutation
from motet.store.open import store_at
from motet.store.postgres.borrowed import Statement, ask_async, within
from motet.store.postgres.log import LOCK, MOVE
from motet.store.protocol import Receipt, Store
from motet.testing.conformance.records import NOW, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe

PATIENCE_SECONDS = 20


@pytest.fixture
async def store(postgres_address: str) -> AsyncGenerator[Store]:
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    yield store
    await store.close()


@pytest.fixture
async def mine(postgres_address: str, store: Store) -> AsyncGenerator[asyncpg.Connection]:
    """The user's connection, with a table of the user's."""
    connection = await asyncpg.connect(postgres_address)
    await connection.execute("CREATE TABLE purchase (id text PRIMARY KEY)")
    yield connection
    await connection.close()


async def write(connection: asyncpg.Connection, *unit: Mutation, place: str = "here") -> Receipt:
    async def execute(statement: Statement) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = await connection.fetch(statement.sql, *statement.values)
        return found

    return await ask_async(within(list(unit), place), execute)


async def log_of(store: Store, count: int) -> list[str]:
    """The data of the log's events, when there are so many."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(log := await store.events(0, 1_000)) < count:
            await store.hint()
    return [event.data for event in log]


async def test_what_is_committed_comes_into_the_log_and_what_is_not_never_was(
    store: Store, mine: asyncpg.Connection
) -> None:
    await Scribe.register(store)
    transaction = mine.transaction()
    await transaction.start()
    await write(mine, an_event("lost"), a_run("lost"))
    await mine.execute("INSERT INTO purchase VALUES ('lost')")
    await transaction.rollback()
    async with mine.transaction():
        await write(mine, an_event("kept"), a_run("kept"))
        await mine.execute("INSERT INTO purchase VALUES ('kept')")
        assert await store.run("kept") is None
    assert await log_of(store, 1) == ['"kept"']
    run = await store.run("kept")
    assert run is not None and (run.state, run.owner) == ("pending", None)
    assert await store.run("lost") is None


async def test_without_a_worker_the_next_who_publishes_moves_it_first(store: Store, mine: asyncpg.Connection) -> None:
    async with mine.transaction():
        await write(mine, *(an_event(f"e{number}", recorded_at=NOW) for number in range(3)))
    assert await store.head() == 0, "nobody has moved it yet"
    await store.commit([[an_event("mine", recorded_at=NOW + 5)]], None)
    log = await store.events(0, 10)
    assert [event.data for event in log] == ['"e0"', '"e1"', '"e2"', '"mine"']
    assert [event.position for event in log] == [1, 2, 3, 4]
    times = [event.recorded_at for event in log]
    assert times == sorted(times), "recorded time never runs backwards"


async def test_whoever_needs_all_of_it_in_the_log_waits_for_who_is_about_it(
    store: Store, mine: asyncpg.Connection, postgres_address: str
) -> None:
    assert await store.empty_outbox() == 0
    for name in ("first", "second"):
        async with mine.transaction():
            await write(mine, an_event(name))
    assert await store.empty_outbox() == 2
    async with mine.transaction():
        await write(mine, an_event("third"))
    other = await asyncpg.connect(postgres_address)
    about = other.transaction()
    await about.start()
    await other.fetchrow(LOCK)
    await other.fetch(MOVE, 1_000, NOW)
    waiting = asyncio.ensure_future(store.empty_outbox())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await mine.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            await asyncio.sleep(0)
    assert not waiting.done()
    await about.commit()
    assert await waiting == 0, "nothing was left"
    assert [event.data for event in await store.events(0, 9)] == ['"first"', '"second"', '"third"']
    await other.close()


async def test_pruning_brings_it_into_the_log_where_it_is_as_new_as_the_log_says(
    store: Store, mine: asyncpg.Connection
) -> None:
    async with mine.transaction():
        await write(mine, *(an_event(name, recorded_at=NOW) for name in ("first", "second")))
    assert (await Pruner(store, SYSTEM, SYSTEM.now()).prune()).events == 0
    assert [event.data for event in await store.events(0, 9)] == ['"first"', '"second"']
    assert (await Pruner(store, SYSTEM, SYSTEM.now()).prune()).events == 1, "but for the newest"


async def test_of_one_publisher_everything_comes_in_its_order(store: Store, postgres_address: str) -> None:
    """However many move, and whatever else is published meanwhile."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stores = [store, *[store_at(postgres_address, SYSTEM) for _ in range(2)]]
    for other in stores[1:]:
        await other.open(create=False)
    workers = [await Scribe.register(one) for one in stores]

    async def publish(key: str) -> None:
        connection = await asyncpg.connect(postgres_address)
        for number in range(15):
            async with connection.transaction():
                await write(connection, an_event(f"{key}{number}", subject=key))
            if chance.random() < 0.5:
                await asyncio.sleep(0)
        await connection.close()

    async def work(worker: Scribe) -> None:
        for number in range(15):
            await worker.write(an_event(f"w{worker.id}-{number}", subject=f"w{worker.id}"))

    await asyncio.gather(*(publish(key) for key in "abc"), *(work(worker) for worker in workers))
    await log_of(store, 6 * 15)
    log = await store.events(0, 1_000)
    assert [event.position for event in log] == list(range(1, 91))
    for key in {event.subject for event in log}:
        numbers = [int(event.data.strip('"').lstrip("abc").rpartition("-")[2]) for event in log if event.subject == key]
        assert numbers == list(range(15)), f"{key} (seed {seed})"
    for other in stores[1:]:
        await other.close()


async def test_an_id_of_the_publishers_is_published_once(store: Store, mine: asyncpg.Connection) -> None:
    await Scribe.register(store)
    once = AppendOnce(*an_event("once", id="shop 1"))
    for _ in range(2):
        async with mine.transaction():
            await write(mine, once)
    await store.commit([[once, AppendOnce(*an_event("twice", id="shop 2"))]], None)
    assert await log_of(store, 2) == ['"once"', '"twice"']
    async with mine.transaction():
        await write(mine, AppendOnce(*an_event("again", id="shop 2")), an_event("last"))
    assert await log_of(store, 3) == ['"once"', '"twice"', '"last"']


async def test_a_start_that_loses_hears_who_won(store: Store, mine: asyncpg.Connection) -> None:
    worker = await Scribe.register(store)
    winner = owned_run(worker.id, "r")
    await worker.write(winner)
    async with mine.transaction():
        loser = a_run("r")
        assert (await write(mine, loser)).lost == {loser.uid: winner}


async def test_an_error_takes_back_our_part_and_leaves_theirs(store: Store, mine: asyncpg.Connection) -> None:
    async with mine.transaction():
        await mine.execute("INSERT INTO purchase VALUES ('before')")
        with pytest.raises(StoreRejected):
            await write(mine, an_event("ours"), EventRow(*an_event("bad", data="\ud800")))
        with pytest.raises(StoreRejected):
            await write(mine, an_event("ours"), an_event("bad", correlationid="x" * 3_000))
        await mine.execute("INSERT INTO purchase VALUES ('after')")
    assert await mine.fetchval("SELECT count(*) FROM purchase") == 2
    assert await mine.fetchval("SELECT count(*) FROM motet.outbox") == 0


async def test_a_connection_that_cannot_be_meant(mine: asyncpg.Connection, store: Store) -> None:
    with pytest.raises(WrongPlace, match="begin one first"):
        await write(mine, an_event())
    await mine.execute("ALTER SCHEMA motet RENAME TO elsewhere")
    async with mine.transaction():
        with pytest.raises(StoreMissing, match="there is no store at here yet"):
            await write(mine, an_event())
    await mine.execute("ALTER SCHEMA elsewhere RENAME TO motet")


def test_places_for_every_driver() -> None:
    statement = Statement("SELECT $1, $2, '100%'", ("a", "b"))
    assert statement.percent == "SELECT %s, %s, '100%%'"
    assert statement.named() == "SELECT :p1, :p2, '100%'"


def test_who_is_cancelled_in_the_middle_asks_nothing_more() -> None:
    """Its transaction is lost, and whoever gave the connection takes it back."""
    steps = within([an_event()], "the store")
    next(steps)
    steps.send([])
    steps.close()


async def test_who_is_cancelled_while_publishing_has_published_nothing_and_may_go_on(
    store: Store, mine: asyncpg.Connection, postgres_address: str
) -> None:
    """Of a unit the start is there, and its event waits for somebody else's lock: both are taken back."""
    holder = await asyncpg.connect(postgres_address)
    run = a_run()
    async with holder.transaction():
        await holder.execute("LOCK TABLE motet.outbox IN EXCLUSIVE MODE")
        async with mine.transaction():
            await mine.execute("INSERT INTO purchase VALUES ('one')")
            writing = asyncio.create_task(write(mine, run, an_event()))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await holder.fetchval("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)"):
                    await asyncio.sleep(0.01)  # tidy: between two looks at another connection
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            await mine.execute("INSERT INTO purchase VALUES ('two')")
    await holder.close()
    assert await mine.fetchval("SELECT count(*) FROM purchase") == 2
    assert await store.run(run.id) is None
    assert await store.events(0, 10) == []

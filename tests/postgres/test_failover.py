"""A primary and a standby that follows it: which of them is a store, and what becomes of runs when the primary dies."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import asyncpg
import pytest

from motet import App, Flow, Settings
from motet.errors import RunNotFound, StoreRefused, StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from tests.postgres_server import PostgresServer, PostgresStandby, temporary_server

PATIENCE_SECONDS = 60


@pytest.fixture
def primary() -> Generator[PostgresServer]:
    with temporary_server() as server:
        yield server


@pytest.fixture
def standby(primary: PostgresServer) -> Generator[PostgresStandby]:
    folder = primary.folder.parent / "standby"  # where the servers' user may go
    server = PostgresStandby(folder, primary)
    server.start()
    yield server
    server.remove()


def both(one: PostgresServer, two: PostgresServer) -> str:
    return f"postgresql://postgres@127.0.0.1:{one.port},127.0.0.1:{two.port}/postgres"


async def test_a_replica_is_refused_and_of_several_hosts_the_primary_is_the_store(
    primary: PostgresServer, standby: PostgresStandby
) -> None:
    for address in (both(primary, standby), both(standby, primary)):
        store = store_at(address, SYSTEM)
        await store.open(create=True)
        await store.close()
    store = store_at(standby.address(), SYSTEM)
    for create in (True, False):
        with pytest.raises(StoreRefused, match="is a replica, which cannot be written; name the primary server"):
            await store.open(create=create)
    primary.stop("fast")
    with pytest.raises(StoreUnavailable):
        await store_at(both(primary, standby), SYSTEM).open(create=False)


async def test_runs_go_on_where_the_standby_has_taken_over(primary: PostgresServer, standby: PostgresStandby) -> None:
    """It follows synchronously, so nothing that was acknowledged is lost, and nothing is done again."""
    await follows_synchronously(primary)
    app = App("shop", store=both(primary, standby), settings=Settings(poll_seconds=0.2))
    done: list[str] = []
    paid, promoted = asyncio.Event(), asyncio.Event()

    @app.step
    async def pay(order: str) -> str:
        done.append(f"pay {order}")
        return "paid"

    @app.step
    async def enroll(order: str) -> str:
        done.append(f"enroll {order}")
        if order == "c-1":
            paid.set()
            await promoted.wait()
        return "enrolled"

    @app.workflow
    async def buy(flow: Flow, order: str) -> list[str]:
        return [await flow.step(pay, order), await flow.step(enroll, order)]

    async with asyncio.timeout(PATIENCE_SECONDS), app.worker():
        await app.start(buy, "c-0", id="c-0")
        assert await app.result("c-0") == ["paid", "enrolled"]
        await app.start(buy, "c-1", id="c-1")
        await paid.wait()
        primary.stop("immediate")
        standby.promote()
        promoted.set()
        assert await app.result("c-1") == ["paid", "enrolled"]
        assert (await app.status("c-0")).state == "completed"
        await app.start(buy, "c-2", id="c-2")
        assert await app.result("c-2") == ["paid", "enrolled"]
    assert done == [f"{step} c-{number}" for number in range(3) for step in ("pay", "enroll")]


async def test_what_an_asynchronous_standby_never_heard_of_is_done_again(
    primary: PostgresServer, standby: PostgresStandby
) -> None:
    """A worker that knows more than the store does not go on from what it knows: its next batch finds a gap."""
    app = App("shop", store=both(primary, standby), settings=Settings(poll_seconds=0.2, lease_seconds=2))
    done: list[str] = []
    gates = {name: asyncio.Event() for name in ("enroll", "tell")}
    begun = {name: asyncio.Event() for name in gates}

    async def gate(name: str, run: str) -> str:
        done.append(f"{name} {run}")
        begun[name].set()
        await gates[name].wait()
        return name

    @app.step
    async def pay(run: str) -> str:
        done.append(f"pay {run}")
        return "pay"

    @app.step
    async def enroll(run: str) -> str:
        return await gate("enroll", run)

    @app.step
    async def tell(run: str) -> str:
        return await gate("tell", run)

    @app.workflow
    async def buy(flow: Flow) -> list[str]:
        return [await flow.step(step, flow.id) for step in (pay, enroll, tell)]

    async with asyncio.timeout(PATIENCE_SECONDS), app.worker():
        await app.start(buy, id="c-1")
        await begun["enroll"].wait()
        await has_caught_up(primary)
        await standby_stops_listening(standby)
        await app.start(buy, id="c-2")
        gates["enroll"].set()
        await begun["tell"].wait()  # so what came before it is on record
        assert [item.name for item in (await app.status("c-1")).done] == ["pay", "enroll"]
        primary.stop("immediate")
        standby.promote()
        gates["tell"].set()
        assert await app.result("c-1") == ["pay", "enroll", "tell"]
        with pytest.raises(RunNotFound):
            await app.status("c-2")
    assert [one for one in done if one.endswith("c-1")] == [f"{name} c-1" for name in ("pay", *2 * ("enroll", "tell"))]


async def has_caught_up(primary: PostgresServer) -> None:
    """Until the standby has all that is committed."""
    connection = await asyncpg.connect(primary.address())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await connection.fetchval("SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"):
                await asyncio.sleep(0)
    finally:
        await connection.close()


async def standby_stops_listening(standby: PostgresServer) -> None:
    connection = await asyncpg.connect(standby.address())
    try:
        await connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval("SELECT count(*) FROM pg_stat_wal_receiver"):
                await asyncio.sleep(0)
    finally:
        await connection.close()


async def follows_synchronously(primary: PostgresServer) -> None:
    connection = await asyncpg.connect(primary.address())
    try:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval("SELECT sync_state FROM pg_stat_replication") != "sync":
                await asyncio.sleep(0)
    finally:
        await connection.close()

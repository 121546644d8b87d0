"""Workers behind a real PgBouncer in transaction mode: no session is theirs for longer than a transaction."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from motet import App, Event, Flow, Settings, attempt
from tests.chaos.faults import bouncer
from tests.postgres_server import Databases, PostgresServer, temporary_server

RUNS = 40
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with temporary_server() as running:
        yield running


@pytest.fixture
def before(server: PostgresServer) -> Generator[str]:
    """The address of an empty database, through PgBouncer; fewer connections than clients want."""
    if reason := bouncer.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI nothing may be skipped")
        pytest.skip(reason)
    made = Databases(server.address())
    name = made.make().rpartition("/")[2]
    with bouncer.bouncing(server.port, pool=3) as between:
        yield f"{between.address(name)}?pooler=transaction"
    made.drop_all()


class Shop:
    """An app on a store, as one process would have it, and what its steps and handlers did."""

    def __init__(self, address: str, did: list[str]) -> None:
        settings = Settings(store=address, idle_seconds=0.05, poll_seconds=0.2, lease_seconds=5)
        self.app = app = App("shop", settings=settings)

        @app.step
        async def pay(order: str) -> str:
            did.append(f"pay {attempt().key}")
            return f"paid {order}"

        @app.step
        async def send(order: str) -> str:
            did.append(f"send {attempt().key}")
            return f"sent {order}"

        @app.workflow
        async def buy(flow: Flow, order: str) -> list[str]:
            paid = await flow.step(pay, order)
            flow.publish("order.paid", {"order": order}, key=order)
            packed = await flow.wait("order.packed", key=order)
            await flow.sleep(0.1)
            return [paid, packed.data["by"], await flow.step(send, order)]

        @app.on("order.paid")
        async def pack(event: Event[Any]) -> None:
            did.append(f"pack {event.key}")
            event.publish("order.packed", {"by": "packer"}, key=event.key)

        app.expect("order.packed", after="order.paid", within=60)
        self.buy = buy


@asynccontextmanager
async def crew(address: str, workers: int) -> AsyncGenerator[tuple[Shop, list[str]]]:
    """Several workers, and a client that is none of them."""
    did: list[str] = []
    client = Shop(address, did)
    async with client.app.connect():
        working = [Shop(address, did).app.worker() for _ in range(workers)]
        for worker in working:
            await worker.__aenter__()
        try:
            yield client, did
        finally:
            for worker in working:
                await worker.__aexit__(None, None, None)


@pytest.mark.timeout(180)
async def test_runs_reactions_and_waits_come_to_their_ends(before: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS * 2), crew(before, 2) as (shop, did):
        runs = [await shop.app.start(shop.buy, f"o{number}", id=f"o{number}") for number in range(RUNS)]
        for number, run in enumerate(runs):
            assert await run.result() == [f"paid o{number}", "packer", f"sent o{number}"]
    for what in ("pay", "send", "pack"):
        done = [line for line in did if line.startswith(what)]
        assert len(done) == len(set(done)) == RUNS
    plain = await asyncpg.connect(before.partition("?")[0], statement_cache_size=0)
    try:
        log = await plain.fetch("SELECT type, subject FROM motet.event WHERE type LIKE 'order.%' ORDER BY position")
        assert sorted(map(tuple, log)) == sorted(
            (name, f"o{number}") for number in range(RUNS) for name in ("order.paid", "order.packed")
        )
        expected = await plain.fetch("SELECT state, count(*) FROM motet.expected GROUP BY state")
        assert list(map(tuple, expected)) == [("met", RUNS)]
    finally:
        await plain.close()


@pytest.mark.timeout(180)
async def test_nothing_listens_and_no_session_is_kept(before: str, server: PostgresServer) -> None:
    """With more clients than connections; one session kept for itself, or one LISTEN in it, would show."""
    async with asyncio.timeout(PATIENCE_SECONDS), crew(before, 4) as (shop, _):
        runs = [await shop.app.start(shop.buy, f"o{number}", id=f"o{number}") for number in range(8)]
        for run in runs:
            await run.result()
        name = before.partition("?")[0].rpartition("/")[2]
        plain = await asyncpg.connect(server.address(name))
        try:
            sessions = await plain.fetch(
                "SELECT query FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
            )
            assert 0 < len(sessions) <= 3
            assert not [query for (query,) in sessions if "LISTEN" in query.upper().split()]
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            assert await plain.fetchval(held) == 0
        finally:
            await plain.close()

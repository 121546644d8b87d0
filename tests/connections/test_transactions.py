"""Steps with transactions of their own on PostgreSQL: effect and record are one commit there, too."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from motet import App, Flow, Retry, RunFailed, Settings, StepFailed, attempt
from motet.errors import StoreUnavailable
from motet.store.postgres.transacting import Transaction
from tests.connections.conftest import make_table, orders

ONCE = Retry(attempts=1)


@pytest.fixture
async def app(postgres_address: str) -> App:
    await make_table(postgres_address)
    return App("shop", store=postgres_address, settings=Settings(poll_seconds=0.2))


async def history(app: App, id: str) -> list[tuple[str, str, int]]:
    run = await app.client.store.run(id)
    assert run is not None
    rows = (await app.client.store.histories([(run.uid, run.generation)]))[run.uid]
    return [(row.op, row.kind, row.attempt) for row in rows]


async def test_effects_and_records_are_one(app: App, postgres_address: str) -> None:
    """Of async and plain functions, beside other operations, with a retry and an undoing."""
    tries: list[str] = []

    @app.transaction(retry=Retry(attempts=2, first=0.01))
    async def book(connection: asyncpg.Connection, order: str) -> str:
        tries.append(order)
        await connection.execute("INSERT INTO orders VALUES ($1)", order)
        await app.publish("order.booked", key=order, conn=connection)
        if len(tries) == 1:
            raise OSError("not yet")
        return order

    @app.transaction
    def count(connection: Any, least: int) -> int:
        connection.execute("INSERT INTO orders VALUES ($1)", f"plain-{attempt().operation}")
        app.sync.publish("orders.counted", key="all", conn=connection)
        found: int = connection.fetchval("SELECT count(*) FROM orders")
        assert found >= least
        return found

    @count.compensation(transaction=True)
    def uncount(connection: Any, counted: int) -> None:
        connection.execute("DELETE FROM orders WHERE id LIKE 'plain-%'")

    @app.step
    async def look(number: int) -> int:
        return number

    @app.workflow(raises=[ValueError])
    async def buy(flow: Flow) -> None:
        await flow.transaction(book, "o1")
        await asyncio.gather(*(flow.step(look, n) for n in range(5)), flow.transaction(book, "o2"))
        flow.publish("half.way")
        await flow.transaction(count, 3)
        raise ValueError("changed my mind")

    async with app.worker():
        run = await app.start(buy, id="r")
        with pytest.raises(ValueError, match="changed my mind"):
            await run.result()
        done = [entry for entry in await history(app, "r") if "book" in entry[0] or "count" in entry[0]]
        assert done == [
            ("book#1", "retrying", 1), ("book#1", "completed", 2), ("book#2", "completed", 1),
            ("count#1", "completed", 1), ("uncount#1", "completed", 1),
        ]  # fmt: skip
        await app.publish("the.end")
        types = [row.type for row in await app.client.store.events(0, 99) if row.source != "motet"]
        assert (types.count("order.booked"), types.count("orders.counted"), types.count("half.way")) == (2, 1, 1)
    assert await orders(postgres_address) == ["o1", "o2"]


@pytest.mark.parametrize("plain", [False, True])
async def test_a_connection_that_is_cut_costs_no_attempt(app: App, postgres_address: str, plain: bool) -> None:
    tries: list[int] = []
    cut = "SELECT pg_terminate_backend(pg_backend_pid())"

    async def awaited(connection: Any) -> None:
        tries.append(1)
        await connection.execute("INSERT INTO orders VALUES ('o1')")
        if len(tries) == 1:
            await connection.execute(cut)

    def blocking(connection: Any) -> None:
        tries.append(1)
        connection.execute("INSERT INTO orders VALUES ('o1')")
        if len(tries) == 1:
            connection.execute(cut)

    book: Any = app.transaction(retry=ONCE, name="book")(blocking if plain else awaited)

    @app.workflow
    async def buy(flow: Flow) -> str:
        await flow.transaction(book)
        return "booked"

    async with app.worker():
        assert await (await app.start(buy, id="r")).result() == "booked"
        assert await history(app, "r") == [("book#1", "completed", 1)]
    assert len(tries) == 2
    assert await orders(postgres_address) == ["o1"]


@pytest.mark.parametrize("committed", [True, False])
async def test_the_reply_to_the_commit_is_lost(
    app: App, postgres_address: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    replies = iter([False])
    commit = Transaction.commit

    async def lose_the_reply(transaction: Transaction, unit: Any) -> None:
        answered = next(replies, True)
        if answered or committed:
            await commit(transaction, unit)
        if not answered:
            await transaction.roll_back()
            raise StoreUnavailable("the line is dead")

    monkeypatch.setattr(Transaction, "commit", lose_the_reply)
    tries: list[int] = []

    @app.transaction(retry=ONCE)
    async def book(connection: asyncpg.Connection) -> None:
        tries.append(1)
        await connection.execute("INSERT INTO orders VALUES ('o1')")

    @app.workflow
    async def buy(flow: Flow) -> str:
        await flow.transaction(book)
        return "booked"

    async with app.worker():
        assert await (await app.start(buy, id="r")).result() == "booked"
        assert await history(app, "r") == [("book#1", "completed", 1)]
    assert await orders(postgres_address) == ["o1"]
    assert len(tries) == (1 if committed else 2)


async def test_whose_time_is_over_and_who_breaks_a_rule_at_the_end_is_rolled_back(
    app: App, postgres_address: str
) -> None:
    @app.transaction(retry=ONCE, timeout=0.2)
    def sleep(connection: Any) -> None:
        connection.execute("INSERT INTO orders VALUES ('late')")
        connection.execute("SELECT pg_sleep(30)")

    @app.transaction(retry=ONCE)
    async def dangle(connection: asyncpg.Connection) -> None:
        await connection.execute("CREATE TABLE line (id text REFERENCES orders DEFERRABLE INITIALLY DEFERRED)")
        await connection.execute("INSERT INTO line VALUES ('nobody')")

    @app.workflow
    async def buy(flow: Flow) -> str:
        with pytest.raises(StepFailed, match="StepTimedOut.*it was rolled back"):
            await flow.transaction(sleep)
        await flow.transaction(dangle)
        return "never"

    async with app.worker():
        with pytest.raises(RunFailed, match="(?s)ForeignKeyViolationError.*it was rolled back"):
            await (await app.start(buy, id="r")).result()
    assert await orders(postgres_address) == []

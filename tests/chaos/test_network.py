"""The campaign's bad network, and its PgBouncer, before a real PostgreSQL, with a driver that knows of neither."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator

import asyncpg
import pytest

from tests.chaos.faults import bouncer
from tests.chaos.faults.proxy import Proxy, ProxyProcess
from tests.chaos.faults.wire import Opening, Replies, Transaction
from tests.postgres_server import Databases, PostgresServer, temporary_server

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)
PATIENCE = 20.0


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    with temporary_server() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer) -> Generator[str]:
    """The name of a database with an empty table."""
    made = Databases(server.address())
    yield made.make().rpartition("/")[2]
    made.drop_all()


@pytest.fixture
async def proxy(server: PostgresServer) -> AsyncGenerator[Proxy]:
    started = await Proxy(server.port).start()
    yield started
    await started.close()


class Both:
    """A connection through the proxy, and one around it that sees what is true."""

    def __init__(self, through: asyncpg.Connection, around: asyncpg.Connection) -> None:
        self.through = through
        self.around = around

    async def rows(self) -> int:
        count: int = await self.around.fetchval("SELECT count(*) FROM t")
        return count


@pytest.fixture
async def both(proxy: Proxy, server: PostgresServer, database: str) -> AsyncGenerator[Both]:
    around = await asyncpg.connect(server.address(database))
    await around.execute("CREATE TABLE t (x integer)")
    through = await connect(proxy.port, database)
    yield Both(through, around)
    through.terminate()
    await around.close()


async def connect(port: int, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/{database}", timeout=PATIENCE)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)  # tidy: between two looks


async def in_a_transaction(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO t VALUES ($1)", 1)


async def by_simple_query(connection: asyncpg.Connection) -> None:
    await connection.execute("BEGIN; INSERT INTO t VALUES (1); COMMIT")


async def by_one_statement(connection: asyncpg.Connection) -> None:
    await connection.execute("INSERT INTO t VALUES ($1)", 1)


WAYS = pytest.mark.parametrize("write", [in_a_transaction, by_simple_query, by_one_statement])


@WAYS
async def test_a_dropped_reply_is_of_a_commit_that_is_durable(both: Both, proxy: Proxy, write: Callable) -> None:
    proxy.drop_replies(1)
    with pytest.raises(LOST):
        await write(both.through)
    assert await both.rows() == 1
    assert proxy.counts["replies dropped"] == 1
    assert both.through.is_closed()


@WAYS
async def test_a_muted_reply_leaves_its_client_waiting(both: Both, proxy: Proxy, write: Callable) -> None:
    proxy.mute_replies(1)
    writing = asyncio.create_task(write(both.through))
    async with asyncio.timeout(PATIENCE):
        while await both.rows() == 0:
            await asyncio.sleep(0.01)  # tidy: between two looks at another connection
    await until(lambda: proxy.counts["replies muted"])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(writing), 0.3)
    both.through.terminate()
    with pytest.raises(LOST):
        await writing
    await until(lambda: proxy.counts["noticed by the client"])


async def test_who_only_reads_or_writes_nothing_loses_no_reply(both: Both, proxy: Proxy) -> None:
    proxy.drop_replies(1)
    async with both.through.transaction():
        await both.through.fetch("SELECT * FROM t")
    assert await both.through.fetchval("SELECT 1") == 1
    await both.through.execute("UPDATE t SET x = 2 WHERE x = 5")
    transaction = both.through.transaction()
    await transaction.start()
    await both.through.execute("INSERT INTO t VALUES (1)")
    await transaction.rollback()
    assert proxy.counts["replies dropped"] == 0
    with pytest.raises(LOST):
        await in_a_transaction(both.through)
    assert await both.rows() == 1


async def test_what_was_cut_in_its_transaction_was_never_written(both: Both, proxy: Proxy) -> None:
    proxy.cut_writing(1)
    with pytest.raises(LOST):
        await in_a_transaction(both.through)
    assert proxy.counts["cut in transaction"] == 1
    assert await both.rows() == 0
    async with asyncio.timeout(PATIENCE):  # ... and the server has let go of it
        while await both.around.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state ~ 'transaction'"):
            await asyncio.sleep(0.01)  # tidy: between two looks at another connection


async def test_a_cut_is_heard_at_once(both: Both, proxy: Proxy) -> None:
    reading = asyncio.create_task(both.through.execute("SELECT pg_sleep(60)"))
    async with asyncio.timeout(PATIENCE):
        while not await both.around.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
        ):
            await asyncio.sleep(0.01)  # tidy: between two looks at another connection
    assert proxy.cut_all() == 1
    with pytest.raises(LOST):
        await asyncio.wait_for(reading, PATIENCE)


async def test_a_half_open_connection_says_nothing_and_others_live(both: Both, proxy: Proxy, database: str) -> None:
    assert proxy.silence() == 1
    with pytest.raises(TimeoutError):
        await both.through.fetchval("SELECT 1", timeout=0.3)
    other = await connect(proxy.port, database)
    assert await other.fetchval("SELECT 1") == 1
    await other.close()
    both.through.terminate()
    await until(lambda: proxy.counts["noticed by the client"])


async def test_a_slow_network_delays_both_ways_and_keeps_order(both: Both, proxy: Proxy) -> None:
    proxy.slow(0.1)
    began = time.monotonic()  # tidy: how long it takes
    assert await both.through.fetchval("SELECT sum(x) FROM generate_series(1, 100000) AS x") == 5_000_050_000
    assert time.monotonic() - began >= 0.2  # tidy: how long it took
    slow = asyncio.create_task(both.through.fetch("SELECT x FROM generate_series(1, 20000) AS x"))
    await asyncio.sleep(0.05)  # tidy: it is under way
    proxy.slow(0)
    assert [row["x"] for row in await slow] == list(range(1, 20_001))


async def test_one_client_may_be_slow_alone(proxy: Proxy, database: str) -> None:
    address = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}?application_name="
    slow, other = [await asyncpg.connect(address + name, timeout=PATIENCE) for name in ("slow", "other")]
    proxy.slow(60, "slow")
    with pytest.raises(TimeoutError):
        await slow.fetchval("SELECT 1", timeout=0.2)
    assert await other.fetchval("SELECT 1") == 1
    slow.terminate()
    await other.close()


async def test_away_is_away_for_new_ones_too(both: Both, proxy: Proxy, database: str) -> None:
    proxy.away(True)
    with pytest.raises(LOST):
        await both.through.fetchval("SELECT 1")
    with pytest.raises(LOST):
        await connect(proxy.port, database)
    proxy.away(False)
    again = await connect(proxy.port, database)
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


async def test_large_results_and_inputs_pass_unchanged(both: Both) -> None:
    text = "x" * 20_000_000
    assert await both.through.fetchval("SELECT $1::text || 'y'", text) == text + "y"


async def test_as_a_process_of_its_own(server: PostgresServer, database: str) -> None:
    process = await ProxyProcess.start(server.port)
    try:
        through = await connect(process.port, database)
        await through.execute("CREATE TABLE t (x integer)")
        await process.tell("drop_replies", 1)
        with pytest.raises(LOST):
            await in_a_transaction(through)
        assert (await process.counts())["replies dropped"] == 1
    finally:
        await process.close()


async def test_the_server_may_go_and_come_again(proxy: Proxy, database: str, server: PostgresServer) -> None:
    through = await connect(proxy.port, database)
    server.stop("immediate")
    with pytest.raises((*LOST, asyncpg.PostgresError)):
        await through.fetchval("SELECT 1")
    with pytest.raises(LOST):
        await connect(proxy.port, database)
    server.start()
    again = await connect(proxy.port, database)
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


# --- the protocol -----------------------------------------------------------------------------------------------


def test_messages_are_found_however_they_are_cut() -> None:
    whole = b"C\x00\x00\x00\x0bINSERT\x00Z\x00\x00\x00\x05T"
    for size in range(1, len(whole) + 1):
        replies = Replies()
        found = [each for at in range(0, len(whole), size) for each in replies.take(whole[at : at + size])]
        assert [(each.kind, each.tag) for each in found] == [(b"C", b"INSERT"), (b"Z", b"")]
        assert b"".join(each.raw for each in found) == whole


def test_a_request_for_encryption_is_answered_by_one_byte() -> None:
    opening, replies = Opening(), Replies()
    assert opening.take(b"\x00\x00\x00\x08\x04\xd2") == 0
    assert opening.take(b"\x16\x2f") == 1
    replies.single_bytes += 1
    assert next(each.raw for each in replies.take(b"NR\x00\x00\x00\x08\x00\x00\x00\x00")) == b"N"
    assert opening.take(b"\x00\x00\x00\x08\x00\x03\x00\x00") == 0
    assert opening.over


def test_a_transaction_that_was_rolled_back_was_not_committed() -> None:
    def said(*messages: bytes) -> list[bool]:
        replies, transaction = Replies(), Transaction()
        return [transaction.hear(each) for message in messages for each in replies.take(message)]

    def tag(text: bytes) -> bytes:
        return b"C" + (len(text) + 5).to_bytes(4, "big") + text + b"\x00"

    idle, within = b"Z\x00\x00\x00\x05I", b"Z\x00\x00\x00\x05T"
    assert said(tag(b"BEGIN"), within, tag(b"INSERT 0 1"), within, tag(b"COMMIT"), idle)[4]
    assert not any(said(tag(b"BEGIN"), within, tag(b"INSERT 0 1"), within, tag(b"ROLLBACK"), idle))
    assert not any(said(tag(b"BEGIN"), within, tag(b"SELECT 1"), within, tag(b"COMMIT"), idle))


# --- PgBouncer --------------------------------------------------------------------------------------------------


async def test_behind_pgbouncer_transactions_change_their_connection(server: PostgresServer, database: str) -> None:
    if reason := bouncer.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI nothing may be skipped")
        pytest.skip(reason)
    with bouncer.bouncing(server.port, pool=2) as before:
        one, two = [await asyncpg.connect(before.address(database), statement_cache_size=0) for _ in "12"]
        async with one.transaction(), two.transaction():
            first = await one.fetchval("SELECT pg_backend_pid()")
            assert await two.fetchval("SELECT pg_backend_pid()") != first
            await one.execute("CREATE TABLE t (x integer)")
        seen = {await one.fetchval("SELECT pg_backend_pid()") for _ in range(4)}
        assert len(seen) == 2
        await one.close()
        await two.close()

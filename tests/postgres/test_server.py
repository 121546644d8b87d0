"""The server that tests bring along."""

from __future__ import annotations

from collections.abc import Generator

import asyncpg
import pytest

from tests.postgres_server import PostgresServer, temporary_server


async def test_each_test_gets_an_empty_database(postgres_address: str) -> None:
    connection = await asyncpg.connect(postgres_address)
    try:
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()


@pytest.fixture
def own() -> Generator[PostgresServer]:
    with temporary_server() as server:
        yield server


async def test_a_crash_of_the_server_loses_nothing_that_was_committed(own: PostgresServer) -> None:
    connection = await asyncpg.connect(own.address())
    await connection.execute("CREATE TABLE kept (x integer); INSERT INTO kept VALUES (1)")
    own.stop("immediate")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT x FROM kept")
    own.start()
    again = await asyncpg.connect(own.address())
    try:
        assert await again.fetchval("SELECT x FROM kept") == 1
    finally:
        await again.close()

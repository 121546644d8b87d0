"""A store in an empty database, another process's handle on it, and connections of somebody else's."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import asyncpg
import pytest

from motet import Settings
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.postgres.link import STEADY
from motet.store.protocol import Store
from tests.postgres.holding import Outside

SETTINGS = Settings(lease_seconds=600)
"""Long, so that the server lets everybody be held for as long as a test takes."""


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


@pytest.fixture
async def server(postgres_address: str) -> AsyncGenerator[asyncpg.Connection]:
    """A connection to a new store, with the settings of a worker's."""
    store = store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    await store.close()
    connection = await asyncpg.connect(postgres_address)
    for name, value in STEADY:
        await connection.execute(f"SET {name} = {value}")
    yield connection
    await connection.close()

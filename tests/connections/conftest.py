"""An app on a store of each kind, with a table of the user's beside Motet's."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from motet import App, Flow, Settings

TABLE = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)"


def make_app(address: str) -> App:
    """One workflow, with which a start is seen to its end."""
    app = App("shop", store=address, settings=Settings(poll_seconds=0.2))

    @app.workflow
    async def fulfil(flow: Flow, order: str) -> str:
        return f"{order} was shipped"

    @app.workflow
    async def other(flow: Flow, order: str) -> None: ...

    return app


async def make_table(address: str) -> None:
    if address.startswith("sqlite"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"))
        connection.execute(TABLE)
        connection.commit()
        connection.close()
    else:
        conn = await asyncpg.connect(address)
        await conn.execute(TABLE)
        await conn.close()


async def orders(address: str) -> list[str]:
    """What is in the user's table, as others see it."""
    if address.startswith("sqlite"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"))
        try:
            return [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]
        finally:
            connection.close()
    conn = await asyncpg.connect(address)
    try:
        return [row[0] for row in await conn.fetch("SELECT id FROM orders ORDER BY id")]
    finally:
        await conn.close()


async def published(app: App) -> list[tuple[str, str | None]]:
    """What is in the log."""
    rows = await app.client.store.events(0, 100)
    return [(row.type, row.subject) for row in rows if row.source != "motet"]


async def until_published(app: App, count: int) -> list[tuple[str, str | None]]:
    """Once so many events are in the log: in PostgreSQL somebody moves them there."""
    written = app.client.listen()
    async with asyncio.timeout(20):
        while len(found := await published(app)) < count:
            await written.wait()
            written.clear()
    return found


@pytest.fixture
def file_address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'motet.db'}"


@pytest.fixture(params=["SQLite", "PostgreSQL"])
async def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store of either kind, not made yet; with the user's table."""
    if request.param == "SQLite":
        found = f"sqlite:///{tmp_path / 'motet.db'}"
    else:
        found = request.getfixturevalue("postgres_address")
    await make_table(found)
    return found

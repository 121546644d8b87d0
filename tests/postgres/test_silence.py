"""A network that falls silent: connections that nobody has closed, and on which nothing comes any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit, urlunsplit

import pytest

from motet.errors import StoreUnavailable
from motet.model.clock import SYSTEM
from motet.store.postgres.connections import OTHERS, Connections
from motet.store.postgres.link import Link
from motet.store.postgres_address import parse
from tests.chaos.faults.proxy import Proxy

SHORT_SECONDS = 1.0


@pytest.fixture
async def proxy(postgres_address: str) -> AsyncGenerator[Proxy]:
    port = urlsplit(postgres_address).port
    assert port is not None
    started = await Proxy(port).start()
    yield started
    await started.close()


async def ask(link: Link) -> int:
    return int(await link.value("SELECT 1 FROM pg_sleep(0.05)"))


async def test_one_silence_is_waited_for_once(proxy: Proxy, postgres_address: str) -> None:
    """Not once for each connection that was open, and longer each time."""
    address = urlunsplit(urlsplit(postgres_address)._replace(netloc=f"postgres@127.0.0.1:{proxy.port}"))
    connections = Connections(parse(address), SYSTEM, 1.0)
    connections._patience = connections._shortest = SHORT_SECONDS
    try:
        async with asyncio.timeout(20):
            await asyncio.gather(*(connections.single(ask) for _ in range(OTHERS)))
            assert proxy.silence() == OTHERS
            with pytest.raises(StoreUnavailable):
                await connections.single(ask)
            assert await connections.single(ask) == 1
            await asyncio.gather(*(connections.single(ask) for _ in range(OTHERS)))
            assert proxy.silence() == OTHERS
            found = await asyncio.gather(*(connections.single(ask) for _ in range(OTHERS)), return_exceptions=True)
            assert all(isinstance(each, StoreUnavailable) for each in found)
            assert connections._patience == 2 * SHORT_SECONDS, "those that wait side by side wait once"
    finally:
        connections.abandon()
        await connections.close()

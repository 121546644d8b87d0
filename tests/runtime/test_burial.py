"""Looking for the dead can fail, with a full disk say; who is registered works all the same, under one identity."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from motet import App, Flow, Settings
from motet.errors import StoreUnavailable
from motet.runtime.liveness import describe_self
from motet.store.protocol import Store
from motet.store.sqlite.store import SqliteStore

PATIENCE = 20


class FailingBurials:
    """Every burial fails as long as `failing` holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = True
        self.tries = 0
        self.bury: Callable[[SqliteStore, int, int], Awaitable[bool]] = SqliteStore.bury

        async def bury(store: SqliteStore, worker: int, counter: int) -> bool:
            self.tries += 1
            if self.failing:
                raise StoreUnavailable("the disk is full")
            return await self.bury(store, worker, counter)

        monkeypatch.setattr(SqliteStore, "bury", bury)

    async def tried(self, times: int) -> None:
        """Until somebody has tried so many times more."""
        until = self.tries + times
        async with asyncio.timeout(PATIENCE):
            while self.tries < until:
                await asyncio.sleep(0.01)  # tidy: between two looks


async def register_dead(store: Store) -> int:
    """A worker whose process has ended."""
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    return await store.register(describe_self("code")._replace(pid=gone.pid), {}, 1)


def shop(folder: Path) -> App:
    app = App("shop", store=f"sqlite:///{folder / 'motet.db'}", settings=Settings(lease_seconds=1))

    @app.workflow
    async def greet(flow: Flow) -> str:
        return "hello"

    return app


async def test_a_worker_begins_although_it_cannot_bury_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    burials = FailingBurials(monkeypatch)
    app = shop(tmp_path)
    async with app.connect():
        dead = await register_dead(app.client.store)
    async with app.worker():
        run = await app.start("greet", id="a")
        assert await run.result() == "hello"
        burials.failing = False
        await burials.tried(1)
        async with asyncio.timeout(PATIENCE):
            while dead in [row.id for row in await app.client.store.workers()]:
                await asyncio.sleep(0.01)  # tidy: between two looks


async def test_who_registers_anew_does_so_once_whatever_the_burials_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would drive runs under an identity that it has given up, and write nothing of them."""
    burials = FailingBurials(monkeypatch)
    app = shop(tmp_path)
    async with app.worker():
        store = app.client.store
        assert isinstance(store, SqliteStore)
        dead = await register_dead(store)
        (mine,) = [row for row in await store.workers() if row.id != dead]
        while not await burials.bury(store, mine.id, mine.counter):
            (mine,) = [row for row in await store.workers() if row.id != dead]
        async with asyncio.timeout(PATIENCE):
            while len(await store.workers()) < 2:
                await asyncio.sleep(0.01)  # tidy: until it is registered again
        await burials.tried(4)
        assert len(await store.workers()) == 2, "the dead one and it"
        run = await app.start("greet", id="a")
        assert await run.result() == "hello"

"""An app on a store of its own, an outside world that tests control, and a way to wait for things without sleeping."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from motet import App, Retry, Settings, attempt
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.status import RunStatus
from motet.store.open import store_at
from tests.postgres_server import Databases

ONCE = Retry(attempts=1)
QUICK = Retry(attempts=3, first=0.001, jitter=0)
PATIENCE_SECONDS = 20


_postgres: list[Databases] = []
_addresses: dict[Path, str] = {}


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(request: pytest.FixtureRequest) -> None:
    """With MOTET_TEST_STORE=postgres the stories happen there."""
    if os.environ.get("MOTET_TEST_STORE") == "postgres":
        _postgres.append(request.getfixturevalue("postgres"))


def address_of(path: Path) -> str:
    """The store that a test would have in this file; in PostgreSQL a database stands for each file."""
    if not _postgres:
        return f"sqlite:///{path}"
    if path not in _addresses:
        _addresses[path] = _postgres[0].make()
    return _addresses[path]


class MovableClock:
    """The system's clock, which a test may set forward."""

    def __init__(self) -> None:
        self.ahead: float = 0.0

    def now(self) -> Micros:
        return SYSTEM.now() + round(self.ahead * SECOND)

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


class Outside:
    """What steps do to the world: each effect in order, and gates at which a step waits until a test opens them."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.keys: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}

    def did(self, effect: str) -> None:
        self.effects.append(effect)
        self.keys.append(attempt().key)

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def open(self, name: str) -> None:
        self.gate(name).set()

    async def wait_at(self, name: str) -> None:
        """A step stands at this gate until it is opened."""
        self._reached.setdefault(name, asyncio.Event()).set()
        await self.gate(name).wait()

    async def reached(self, name: str) -> None:
        """A step has come to the gate."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._reached.setdefault(name, asyncio.Event()).wait()


class Shop(App):
    """An app whose commits a test can wait for."""

    def __init__(self, folder: Path, *, address: str | None = None, **settings: Any) -> None:
        self.clock = MovableClock()
        self.folder = folder
        self.path = folder / "motet.db"
        chosen = Settings(**{"poll_seconds": 0.2, **settings})
        self.address = address or address_of(self.path)
        super().__init__("shop", store=self.address, settings=chosen, clock=self.clock)
        self.outside = Outside()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it holds, looking again after each commit of this process."""
        committed = asyncio.Event()
        self.hooks.batch_committed(lambda *_: committed.set())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                committed.clear()
                if await holds():
                    return
                await committed.wait()

    async def until_status(self, id: str, holds: Callable[[RunStatus], bool]) -> RunStatus:
        """Wait for a status of the run of which this holds."""
        found: list[RunStatus] = []

        async def look() -> bool:
            found.append(await self.status(id))
            return holds(found[-1])

        await self.until(look)
        return found[-1]

    async def until_state(self, id: str, state: str) -> RunStatus:
        return await self.until_status(id, lambda status: status.state == state)

    async def until_stopped(self, id: str) -> RunStatus:
        """Wait until the run has heard that it is to stop."""
        return await self.until_status(id, lambda status: status.stop is not None)

    async def after_help(self, id: str) -> Any:
        """The result of a run that a person has just helped."""
        await self.until_status(id, lambda status: status.state != "blocked")
        return await self.result(id)

    async def events(self) -> list[tuple[str, str | None]]:
        """What is in the log: type and key, in order."""
        store = store_at(self.address, SYSTEM)
        await store.open(create=False)
        try:
            log = await store.events(0, 100_000)
        finally:
            await store.close()
        return [(row.type, row.subject) for row in log if row.source != "motet"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def outside(shop: Shop) -> Outside:
    return shop.outside


@pytest.fixture
def impatient(tmp_path: Path) -> Shop:
    """Its worker lets go at once of runs that only wait, and waits for no step when it stops."""
    return Shop(tmp_path, idle_seconds=0.001, drain_seconds=0.001)

"""A store with somebody in between: holds commits back, loses their replies, fails them, counts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from motet.config import Settings
from motet.errors import StoreUnavailable
from motet.model.clock import SYSTEM
from motet.runtime.committer import Committer
from motet.runtime.hooks import Hooks
from motet.store.mutations import Mutation
from motet.store.open import store_at
from motet.store.protocol import Fence, Receipt, Store, Ticket
from motet.testing.conformance.records import NOW, a_worker

Fault = Callable[[], None]


async def until(holds: Callable[[], object]) -> None:
    """Let others run until it holds."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


def away() -> None:
    raise StoreUnavailable("store x does not answer: it is away")


def mistaken() -> None:
    raise RuntimeError("a mistake of ours")


class Between:
    """A real store with its commits watched. Faults are used up one per commit, in order; None: no fault."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.batches: list[list[list[Mutation]]] = []  # that were committed
        self.guards: list[Fence | Ticket | None] = []  # of all that were asked for
        self.before: list[Fault | None] = []
        self.after: list[Fault | None] = []
        self.asking: list[Fault | None] = []
        self._gate = asyncio.Event()
        self._gate.set()
        self.held = asyncio.Event()
        self.in_flight = self.most_in_flight = 0

    async def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        self.guards.append(guard)
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            if not self._gate.is_set():
                self.held.set()
                await self._gate.wait()
            _strike(self.before)
            receipt = await self.store.commit(units, guard)
            self.batches.append([list(unit) for unit in units])
            _strike(self.after)
            return receipt
        finally:
            self.in_flight -= 1

    async def committed(self, fence: Fence) -> bool:
        _strike(self.asking)
        return await self.store.committed(fence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)  # all else is the store's own

    def hold(self) -> None:
        """Let no commit through until `let_go`."""
        self._gate.clear()
        self.held.clear()

    def let_go(self) -> None:
        self._gate.set()


def _strike(faults: list[Fault | None]) -> None:
    fault = faults.pop(0) if faults else None
    if fault is not None:
        fault()


class Rig:
    """A committer at work on a real store, with somebody in between."""

    def __init__(self, store: Store, between: Between, committer: Committer) -> None:
        self.store = store
        self.between = between
        self.committer = committer
        self.told: list[str] = []

    async def register(self) -> int:
        """A fresh worker, as a worker registers."""
        worker = await self.store.register(a_worker(), {}, NOW)
        self.committer.batch = 0
        self.committer.worker = worker
        return worker

    def submit(self, name: str, *mutations: Mutation, fenced: bool = True) -> None:
        """Submit one unit; its end is told in `told`."""
        self.committer.submit(
            list(mutations),
            lambda _: self.told.append(name),
            lambda error: self.told.append(f"{name}: {type(error).__name__}"),
            fenced=fenced,
        )

    async def settled(self) -> list[str]:
        """Everything submitted has been dealt with."""
        assert await self.committer.flushed(30), "the committer did not come to an end"
        return self.told

    @property
    def sizes(self) -> list[int]:
        """How many units each committed batch held."""
        return [len(units) for units in self.between.batches]


@asynccontextmanager
async def rig(path: Path, settings: Settings | None = None, hooks: Hooks | None = None) -> AsyncGenerator[Rig]:
    """A client's committer; `register` makes it a worker's."""
    store = store_at(f"sqlite:///{path / 'motet.db'}", SYSTEM)
    await store.open(create=True)
    between = Between(store)
    committer = Committer(between, settings or Settings(), SYSTEM, hooks or Hooks())
    running = asyncio.create_task(committer.run())
    try:
        yield Rig(store, between, committer)
        assert not running.done(), "the committer has died"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


async def published(store: Store) -> list[str]:
    """The data of all events but the engine's own."""
    return [row.data for row in await store.events(0, 100) if row.source != "motet"]

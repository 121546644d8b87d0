"""What every theme builds on: stores opened at the backend's address, and a worker that writes by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from motet.errors import LeaseLost
from motet.model.clock import SYSTEM
from motet.model.run import Run
from motet.store.mutations import Mutation
from motet.store.open import store_at
from motet.store.protocol import CursorRow, Fence, Receipt, Store, Subscription, Ticket
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_worker


class Stores:
    """Opens handles on one store, and closes them in the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opened: list[Store] = []

    async def open(self, *, create: bool = True) -> Store:
        """One more handle, as another process would have it."""
        store = store_at(self.address, SYSTEM)
        await store.open(create=create)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """All of them."""
        for store in self._opened:
            await store.close()


class Scribe:
    """A registered worker that writes by hand, under its fence."""

    def __init__(self, store: Store, id: int) -> None:
        self.store = store
        self.id = id
        self.batch = 0

    @classmethod
    async def register(cls, store: Store, name: str = "w") -> Scribe:
        """A fresh one."""
        return cls(store, await store.register(a_worker(name), {}, NOW))

    async def write(self, *mutations: Mutation) -> Receipt:
        """Commit these as one unit. Raises what `commit` raises."""
        return await self.units(mutations)

    async def units(self, *units: Sequence[Mutation]) -> Receipt:
        """Commit these units as one batch."""
        receipt = await self.store.commit([list(unit) for unit in units], Fence(self.id, self.batch + 1))
        self.batch += 1
        return receipt

    async def claim(self, limit: int = 100, *, at: int = NOW, fingerprint: str = FINGERPRINT) -> list[str]:
        """The ids of the runs that it gets."""
        return [run.id for run in await self.store.claim(self.id, KNOWN, fingerprint, at, limit)]

    async def follow(self, *names: str) -> list[CursorRow]:
        """Make these readers of the log, if they are not there, from its beginning; returns those that it gets."""
        await self.store.subscribe([Subscription(name, "reaction", "{}", "beginning") for name in names], NOW)
        return await self.store.claim_cursors(self.id, names)

    async def is_alive(self) -> bool:
        """Whether it may still write."""
        try:
            await self.units()
        except LeaseLost:
            return False
        return True


_tickets = iter(range(1, 1_000_000))


def a_ticket() -> Ticket:
    """One that was never used before."""
    return Ticket(f"ticket-{next(_tickets)}")


async def the_run(store: Store, id: str) -> Run:
    """The run with this id, which is there."""
    run = await store.run(id)
    assert run is not None, f"no run '{id}'"
    return run


class StoreSuite:
    """The fixtures of all themes."""

    @pytest.fixture
    def address(self) -> str:
        """Where a store can be made; the backend's own."""
        raise NotImplementedError("give the fixture `address`: where a store can be made that does not exist yet")

    @pytest.fixture
    async def stores(self, address: str) -> AsyncGenerator[Stores]:
        """Handles on one store."""
        stores = Stores(address)
        yield stores
        await stores.close()

    @pytest.fixture
    async def store(self, stores: Stores) -> Store:
        """An open store, empty."""
        return await stores.open()

    @pytest.fixture
    async def worker(self, store: Store) -> Scribe:
        """A worker registered in it."""
        return await Scribe.register(store)

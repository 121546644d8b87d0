"""The fence: only the worker that was not declared dead writes, and each batch once, in order."""

from __future__ import annotations

import pytest

from motet.errors import LeaseLost
from motet.store.protocol import Fence, Store
from motet.testing.conformance.records import a_run, an_event
from motet.testing.conformance.setting import Scribe, StoreSuite


class Fencing(StoreSuite):
    """Who may write."""

    async def test_each_batch_moves_the_counter_by_one(self, store: Store, worker: Scribe) -> None:
        for expected in (1, 2, 3):
            await worker.write(a_run())
            (row,) = await store.workers()
            assert row.batch == expected

    @pytest.mark.parametrize("batch", [0, 1, 2, 4, 100, -1])
    async def test_no_other_number_is_let_through(self, store: Store, worker: Scribe, batch: int) -> None:
        await worker.units()
        await worker.units()
        with pytest.raises(LeaseLost):
            await store.commit([[a_run("late")]], Fence(worker.id, batch))
        assert await store.run("late") is None
        assert await worker.is_alive()

    async def test_a_buried_worker_writes_nothing(self, store: Store, worker: Scribe) -> None:
        await worker.units()
        assert await store.bury(worker.id, 1)
        with pytest.raises(LeaseLost, match=f"worker {worker.id} has been declared dead"):
            await worker.units([a_run("late"), an_event()])
        assert await store.run("late") is None
        assert [row.type for row in await store.events(0, 10)] == ["motet.worker.lost"]

    async def test_a_worker_that_resigned_writes_nothing(self, store: Store, worker: Scribe) -> None:
        await store.resign(worker.id)
        assert not await worker.is_alive()

    async def test_nobody_writes_under_an_unknown_number(self, store: Store, worker: Scribe) -> None:
        with pytest.raises(LeaseLost):
            await store.commit([[a_run("stranger")]], Fence(worker.id + 1, 1))
        assert await store.run("stranger") is None

    async def test_workers_have_counters_of_their_own(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store)
        await worker.units()
        await worker.units()
        await other.units()
        assert {row.id: row.batch for row in await store.workers()} == {worker.id: 2, other.id: 1}
        assert await store.bury(worker.id, 2)
        assert await other.is_alive(), "a burial touches no other"

    async def test_burial_waits_for_nobody_and_a_batch_in_time_saves(self, store: Store, worker: Scribe) -> None:
        """Compare-and-set: what moves between looking and burying is alive."""
        (seen,) = await store.workers()
        await worker.units()
        assert not await store.bury(worker.id, seen.batch)
        assert await worker.is_alive()

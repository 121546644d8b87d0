"""Burial: a worker is dead when its counter stands where it was seen; then, and only then, are its runs free."""

from __future__ import annotations

import pytest

from motet.store.protocol import Store
from motet.testing.conformance.records import NOW, a_run, a_worker, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run


class Burial(StoreSuite):
    """Coming, going, dying."""

    async def test_ids_grow_and_are_never_given_again(self, store: Store) -> None:
        ids: list[int] = []
        for number in range(4):
            ids.append(await store.register(a_worker(), {}, NOW + number))
            await (store.resign(ids[-1]) if number % 2 else store.bury(ids[-1], 0))
        assert ids == sorted(set(ids))

    async def test_a_worker_is_listed_as_it_registered(self, store: Store) -> None:
        info = a_worker()
        id = await store.register(info, {}, NOW + 5)
        (row,) = await store.workers()
        assert row[: len(info) + 1] == (id, *info)
        assert (row.batch, row.buried, row.started_at, row.seen_at) == (0, False, NOW + 5, NOW + 5)
        assert (row.beats, row.state, row.counter) == (0, "running", 0)

    @pytest.mark.parametrize("away", [-1, 1, 100])
    async def test_compare_and_set(self, store: Store, worker: Scribe, away: int) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.units()
        assert not await store.bury(worker.id, 2 + away)
        assert await store.run("r") == run
        assert await worker.is_alive()

    async def test_batches_and_heartbeats_move_one_counter(self, store: Store, worker: Scribe) -> None:
        await worker.units()
        assert await store.beat(worker.id)
        assert await store.beat(worker.id)
        (row,) = await store.workers()
        assert (row.batch, row.beats, row.counter) == (1, 2, 3)
        assert not await store.bury(worker.id, 1), "its batches alone are not its counter"
        assert not await store.bury(worker.id, 2), "it has moved since"
        assert await worker.is_alive(), "a heartbeat leaves the fence alone"
        assert await store.bury(worker.id, 4)

    async def test_a_heartbeat_is_seen(self, store: Store, worker: Scribe) -> None:
        (before,) = await store.workers()
        assert await store.beat(worker.id)
        (after,) = await store.workers()
        assert (before.seen_at, after.seen_at > 0) == (NOW, True)
        assert after.seen_at != before.seen_at

    async def test_the_dead_have_no_heartbeat(self, store: Store, worker: Scribe) -> None:
        assert await store.bury(worker.id, 0)
        assert not await store.beat(worker.id)
        assert not await store.beat(worker.id + 1), "nor has who never was"
        gone = await Scribe.register(store)
        await store.resign(gone.id)
        assert not await store.beat(gone.id)

    async def test_a_draining_worker_says_so_and_keeps_its_runs(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await store.drain(worker.id)
        (row,) = await store.workers()
        assert (row.state, row.counter) == ("draining", 1)
        assert await store.run("r") == run
        assert await worker.is_alive()

    async def test_burial_frees_its_runs_and_counts_a_crash(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store)
        mine, theirs = owned_run(worker.id, "mine", crashes=1), owned_run(other.id, "theirs")
        await worker.write(mine, theirs)
        assert await store.bury(worker.id, 1)
        freed = await the_run(store, "mine")
        assert (freed.owner, freed.crashes, freed.state) == (None, 2, "running")
        assert await store.run("theirs") == theirs
        assert await other.claim() == ["mine"]
        assert [row.id for row in await store.workers()] == [other.id]

    async def test_resigning_frees_without_a_crash(self, store: Store, worker: Scribe) -> None:
        await worker.write(owned_run(worker.id, "r"))
        await store.resign(worker.id)
        freed = await the_run(store, "r")
        assert (freed.owner, freed.crashes) == (None, 0)
        assert await store.workers() == []
        heir = await Scribe.register(store)
        assert await heir.claim() == ["r"]

    async def test_nobody_dies_twice(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r"))
        await worker.claim()
        assert await store.bury(worker.id, 1)
        heir = await Scribe.register(store)
        assert await heir.claim() == ["r"]
        assert not await store.bury(worker.id, 1)
        await store.resign(worker.id)
        taken = await the_run(store, "r")
        assert (taken.owner, taken.crashes) == (heir.id, 1)

    async def test_nobody_buries_a_stranger(self, store: Store, worker: Scribe) -> None:
        assert not await store.bury(worker.id + 1, 0)

    async def test_a_catalog_is_kept_and_replaced(self, store: Store) -> None:
        await store.register(a_worker(), {"shop/buy@1": '{"a":1}', "shop/buy@2": '{"a":2}', "a@b/c@3": "{}"}, NOW)
        await store.register(a_worker(), {"shop/buy@2": '{"a":3}'}, NOW)
        assert await store.catalog("shop/buy", 1) == '{"a":1}'
        assert await store.catalog("shop/buy", 2) == '{"a":3}'
        assert await store.catalog("a@b/c", 3) == "{}"
        assert await store.catalog("shop/buy", 4) is None
        assert await store.catalog("shop/sell", 1) is None
        assert await store.catalogs() == {"shop/buy": '{"a":3}', "a@b/c": "{}"}, "of each the newest version"

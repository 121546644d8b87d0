"""Several handles and several processes on one store: everything once, nothing torn, each sees the others."""

from __future__ import annotations

import asyncio
import sys

from motet.model.history import Recorded
from motet.store.protocol import RunFilter, Store
from motet.testing.conformance.records import NOW, a_fact, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, a_ticket

PROCESSES = 3
BATCHES = 20


class Concurrency(StoreSuite):
    """Others are there too."""

    async def test_handles_see_each_others_commits(self, stores: Stores, store: Store) -> None:
        other = await stores.open(create=False)
        await store.commit([[a_run("r")]], a_ticket())
        assert await other.run("r") is not None

    async def test_changes_are_noticed(self, stores: Stores, store: Store) -> None:
        other = await stores.open(create=False)
        await store.changed()
        assert not await store.changed(), "nobody has written since"
        await other.commit([[a_run()]], a_ticket())
        assert await store.changed()
        assert not await store.changed()
        await store.commit([[a_run()]], a_ticket())
        assert await store.changed(), "one's own count too: clients of this process wait for them"

    async def test_a_change_is_hinted_at(self, stores: Stores, store: Store) -> None:
        other = await stores.open(create=False)
        await store.changed()
        hinting = asyncio.create_task(store.hint())
        await other.commit([[a_run()]], a_ticket())
        async with asyncio.timeout(20):
            await hinting
            while not await store.changed():
                await store.hint()

    async def test_one_of_many_starts_wins(self, stores: Stores, store: Store) -> None:
        handles = [await stores.open() for _ in range(4)]
        starts = [a_run("r") for _ in handles]
        receipts = await asyncio.gather(
            *(handle.commit([[start]], a_ticket()) for handle, start in zip(handles, starts, strict=True))
        )
        losers = {uid for receipt in receipts for uid in receipt.lost}
        assert len(losers) == len(starts) - 1
        (winner,) = await store.runs(RunFilter())
        assert winner.uid not in losers
        assert all(run.uid == winner.uid for receipt in receipts for run in receipt.lost.values())

    async def test_readers_never_see_half_a_batch(self, stores: Stores, store: Store) -> None:
        writer = await Scribe.register(await stores.open())

        async def write() -> None:
            for _ in range(40):
                await writer.units(*([a_run()] for _ in range(30)))

        writing = asyncio.create_task(write())
        while not writing.done():
            assert sum((await store.counts()).values()) % 30 == 0
        await writing

    async def test_several_processes_write_everything_once(self, stores: Stores, store: Store) -> None:
        await asyncio.gather(*(_process(stores.address, str(number)) for number in range(PROCESSES)))
        assert await store.counts() == {"running": PROCESSES * BATCHES}
        runs = await store.runs(RunFilter(limit=1000))
        histories = await store.histories([(run.uid, 1) for run in runs])
        assert all(len(history) == 2 for history in histories.values())
        log = await store.events(0, 1000)
        assert len({row.id for row in log}) == len(log) == PROCESSES * BATCHES
        assert {row.batch for row in await store.workers()} == {BATCHES}


async def _process(address: str, name: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, address, name)
    assert await process.wait() == 0


async def write_alone(address: str, name: str) -> None:
    """What each of the processes does."""
    stores = Stores(address)
    store = await stores.open(create=False)
    worker = await Scribe.register(store)
    for number in range(BATCHES):
        run = owned_run(worker.id, f"{name}-{number}")
        facts: list[Recorded] = [a_fact(run, 1), a_fact(run, 2)]
        await worker.write(run, *facts, an_event(f"{name}-{number}", id=f"{name}-{number}", recorded_at=NOW))
    await stores.close()


if __name__ == "__main__":
    asyncio.run(write_alone(*sys.argv[1:]))

"""Opening and closing: nothing is created by whoever only reads, nothing is lost by closing."""

from __future__ import annotations

import pytest

from motet.errors import StoreMissing, StoreRefused
from motet.store.protocol import Store
from motet.testing.conformance.records import a_fact, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite


class Opening(StoreSuite):
    """A store's life."""

    async def test_a_missing_store_is_told_and_not_created(self, stores: Stores) -> None:
        for _ in range(2):
            with pytest.raises(StoreMissing, match="there is no store at"):
                await stores.open(create=False)

    async def test_what_was_written_is_there_after_opening_again(self, stores: Stores) -> None:
        first = await stores.open()
        worker = await Scribe.register(first)
        run = owned_run(worker.id)
        await worker.write(run, a_fact(run, 1))
        await first.close()
        second = await stores.open(create=False)
        assert await second.run(run.id) == run
        assert len((await second.histories([(run.uid, 1)]))[run.uid]) == 1

    async def test_a_closed_store_says_so(self, stores: Stores) -> None:
        store = await stores.open()
        await store.close()
        with pytest.raises(StoreRefused, match="is closed"):
            await store.counts()
        with pytest.raises(StoreRefused, match="is closed"):
            await store.commit([], None)
        with pytest.raises(StoreRefused, match="is closed"):
            await store.changed()

    async def test_closing_twice_is_closing_once(self, stores: Stores) -> None:
        store = await stores.open()
        await store.close()
        await store.close()

    async def test_findings_are_sentences(self, store: Store) -> None:
        for finding in await store.findings():
            assert finding

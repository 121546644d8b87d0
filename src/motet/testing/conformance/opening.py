"""Opening, closing, copying: nothing is created by whoever only reads, nothing is lost by closing."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.errors import StoreMissing, StoreRefused
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.protocol import Store
from motet.testing.conformance.records import a_fact, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, the_run


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

    async def test_a_backup_is_a_store_as_of_one_moment(self, store: Store, worker: Scribe, tmp_path: Path) -> None:
        run = owned_run(worker.id)
        await worker.write(run, a_fact(run, 1), an_event())
        steps: list[tuple[int, int]] = []
        target = tmp_path / "copy.db"
        await store.backup(str(target), lambda done, total: steps.append((done, total)))
        await worker.write(a_run("later"))
        copy = store_at(store.address.replace(_file_of(store), str(target)), SYSTEM)
        await copy.open(create=False)
        try:
            assert await the_run(copy, run.id) == run
            assert await copy.run("later") is None
            assert len(await copy.events(0, 10)) == 1
        finally:
            await copy.close()
        assert steps and steps[-1][0] == steps[-1][1] > 0

    async def test_a_backup_never_overwrites(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "taken.db"
        target.write_text("mine")
        with pytest.raises(StoreRefused, match="never overwrites"):
            await store.backup(str(target))
        assert target.read_text() == "mine"

    async def test_findings_are_sentences(self, store: Store) -> None:
        for finding in await store.findings():
            assert finding


def _file_of(store: Store) -> str:
    return store.address.partition("///")[2]

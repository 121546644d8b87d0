"""Copies: by the store itself, of one moment, whole or not at all; or by programs of the database's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.errors import StoreRefused
from motet.model.clock import SYSTEM
from motet.store.open import store_at
from motet.store.protocol import Store
from motet.testing.conformance.records import a_fact, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run


class Copying(StoreSuite):
    """A store in a file."""

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


class CopiedElsewhere(StoreSuite):
    """A store in a server, which has programs for that."""

    async def test_who_asks_for_a_backup_is_told_who_makes_it(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "copy"
        with pytest.raises(StoreRefused, match=f"by .* own programs: .*{target}"):
            await store.backup(str(target))
        assert not target.exists()


def _file_of(store: Store) -> str:
    return store.address.partition("///")[2]

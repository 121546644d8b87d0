"""PostgreSQL keeps what a store promises."""

import asyncio
import os

import asyncpg
import pytest

from motet import Keyring
from motet.errors import StoreRefused
from motet.model.clock import SYSTEM
from motet.runtime.pruning import retaining
from motet.store.mutations import EndRun
from motet.store.open import store_at
from motet.store.postgres.pruning import BURY
from motet.store.protocol import Store
from motet.store.sealed import sealed
from motet.testing.conformance import CopiedElsewhere, StoreConformance, setting
from motet.testing.conformance.delivering import DeliveryTransactions
from motet.testing.conformance.histories import Histories
from motet.testing.conformance.records import NOW, a_run, owned_run
from motet.testing.conformance.retention import RetentionConformance
from motet.testing.conformance.setting import Scribe
from motet.testing.conformance.transacting import StepTransactions
from motet.testing.conformance.writing import Writes


class TestPostgres(CopiedElsewhere, StoreConformance, RetentionConformance):
    @pytest.fixture
    def address(self, postgres_address: str) -> str:
        return postgres_address

    async def test_free_space_is_given_back(self, store: Store, worker: Scribe) -> None:
        """By the server's own vacuum."""
        with pytest.raises(StoreRefused, match="autovacuum"):
            await retaining(store).compact()


class TestSealedPostgres(Writes, Histories, StepTransactions, DeliveryTransactions):
    """With payloads encrypted on their way in."""

    @pytest.fixture
    def address(self, postgres_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
        keys = Keyring({"one": os.urandom(32)}, current="one")
        monkeypatch.setattr(setting, "store_at", lambda at, clock: sealed(store_at(at, clock), keys, clock))
        return postgres_address


async def test_a_start_that_meets_a_pruning_of_its_id_finds_the_tombstone(postgres_address: str) -> None:
    """It waits for the row that is being removed, and then there is room for it: but the tombstone counts by then."""
    store, other = store_at(postgres_address, SYSTEM), store_at(postgres_address, SYSTEM)
    await store.open(create=True)
    await other.open(create=True)
    outside, looking = await asyncpg.connect(postgres_address), await asyncpg.connect(postgres_address)
    try:
        worker = await Scribe.register(store)
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.write(EndRun(run.uid, "completed", "1", None, NOW))
        removing = outside.transaction()
        await removing.start()
        await outside.execute("DELETE FROM motet.run WHERE uid = $1", run.uid)
        again = a_run("r")
        start = asyncio.ensure_future(other.commit([[again]], None))
        # Most of the time it waits by now; should it come later, it must find the same.
        for _ in range(200):
            if await looking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                break
        stone = ("r", run.uid, run.workflow, run.version, "completed", 1, run.conversation, NOW, NOW, NOW, None)
        await outside.execute(BURY, *([value] for value in stone))
        await removing.commit()
        receipt = await start
        assert [*receipt.pruned] == [again.uid]
        assert await store.run("r") is None
    finally:
        await outside.close()
        await looking.close()
        await store.close()
        await other.close()

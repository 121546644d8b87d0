"""A step's own transaction: beside the batches, under the fence of its run alone, with a receipt that is its record."""

from __future__ import annotations

import asyncio

import pytest

from motet.errors import LeaseLost, StoreError
from motet.model.run import Run
from motet.store.mutations import EndRun, ReleaseRun, ShowProgress
from motet.store.protocol import RunFence, Store
from motet.testing.conformance.records import NOW, a_fact, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, the_run


def fence_of(run: Run, worker: Scribe) -> RunFence:
    """What the run's owner has."""
    return RunFence(run.uid, run.epoch, worker.id)


class StepTransactions(StoreSuite):
    """Who commits, and who is refused."""

    @pytest.fixture
    async def run(self, worker: Scribe) -> Run:
        """One that the worker drives."""
        run = owned_run(worker.id)
        await worker.write(run)
        return run

    async def facts(self, store: Store, run: Run) -> list[int]:
        """The positions in the run's history."""
        histories = await store.histories([(run.uid, run.generation)])
        return [row.position for row in histories.get(run.uid, [])]

    async def test_the_record_is_committed(self, store: Store, worker: Scribe, run: Run) -> None:
        fact = a_fact(run, 1)
        transaction = store.step_transaction(fence_of(run, worker))
        assert await transaction.begin() is not None
        assert not (await store.histories([(run.uid, 1)])).get(run.uid)
        await transaction.commit([fact, ShowProgress(run.uid, '"c"', "note")])
        await transaction.roll_back()
        assert (await store.histories([(run.uid, 1)]))[run.uid] == [fact]
        assert (await the_run(store, run.id)).note == "note"
        assert await store.recorded(fact)

    async def test_the_batches_of_its_worker_go_on_before_and_after(
        self, store: Store, worker: Scribe, run: Run
    ) -> None:
        await worker.write(a_fact(run, 1))
        transaction = store.step_transaction(fence_of(run, worker))
        await transaction.begin()
        await transaction.commit([a_fact(run, 2)])
        await transaction.roll_back()
        await worker.write(a_fact(run, 3))
        assert await self.facts(store, run) == [1, 2, 3]

    async def test_a_record_that_is_rolled_back_never_was(self, store: Store, worker: Scribe, run: Run) -> None:
        transaction = store.step_transaction(fence_of(run, worker))
        await transaction.begin()
        await transaction.roll_back()
        await transaction.roll_back()
        await worker.write(a_fact(run, 1))
        again = store.step_transaction(fence_of(run, worker))
        await again.begin()
        await again.commit([a_fact(run, 2)])
        await again.roll_back()
        assert await self.facts(store, run) == [1, 2]

    async def test_one_that_was_never_begun_is_let_go(self, store: Store, worker: Scribe, run: Run) -> None:
        await store.step_transaction(fence_of(run, worker)).roll_back()
        await worker.write(a_fact(run, 1))

    async def commits(self, store: Store, fence: RunFence, run: Run, position: int) -> bool:
        """Whether a transaction under this fence comes to its end."""
        transaction = store.step_transaction(fence)
        try:
            await transaction.begin()
            await transaction.commit([a_fact(run, position)])
        except LeaseLost:
            return False
        finally:
            await transaction.roll_back()
        return True

    async def test_whoever_does_not_own_the_run_commits_nothing(self, store: Store, worker: Scribe, run: Run) -> None:
        other = await Scribe.register(store)
        mine = fence_of(run, worker)
        for fence in (
            mine._replace(worker=other.id), mine._replace(epoch=run.epoch + 1), mine._replace(uid="nobody's"),
        ):  # fmt: skip
            assert not await self.commits(store, fence, run, 1)
        assert await self.commits(store, mine, run, 1)
        await worker.write(ReleaseRun(run.uid, "waiting", NOW, None))
        assert not await self.commits(store, mine, run, 2)
        assert await self.facts(store, run) == [1]
        assert await other.is_alive()

    async def test_an_owner_that_was_buried_commits_nothing(self, store: Store, worker: Scribe, run: Run) -> None:
        assert await store.bury(worker.id, worker.batch)
        assert not await self.commits(store, fence_of(run, worker), run, 1)
        heir = await Scribe.register(store)
        assert await heir.claim() == [run.id]
        assert not await self.commits(store, fence_of(run, worker), run, 1)
        taken = await the_run(store, run.id)
        assert not await self.commits(store, fence_of(run, heir), run, 1), "with the token of the owner before"
        assert await self.commits(store, fence_of(taken, heir), run, 1)
        assert await self.facts(store, run) == [1]

    async def test_nor_when_it_was_buried_while_the_function_was_at_work(
        self, stores: Stores, store: Store, worker: Scribe, run: Run
    ) -> None:
        """Either the burial waits for the transaction, and the heir reads what it has written; or it does not, and the
        transaction is refused."""
        other = await stores.open()
        transaction = store.step_transaction(fence_of(run, worker))
        await transaction.begin()
        heir: list[Scribe] = []

        async def take_over() -> list[int]:
            assert await other.bury(worker.id, worker.batch)
            heir.append(await Scribe.register(other))
            assert await heir[0].claim() == [run.id]
            return await self.facts(other, run)

        taking = asyncio.create_task(take_over())
        await asyncio.wait([taking], timeout=0.3)
        try:
            await transaction.commit([a_fact(run, 1)])
            committed = True
        except LeaseLost:
            committed = False
        finally:
            await transaction.roll_back()
        assert await taking == ([1] if committed else [])
        assert await self.facts(store, run) == ([1] if committed else [])

    async def test_a_record_that_is_refused_takes_all_back(self, store: Store, worker: Scribe, run: Run) -> None:
        await worker.write(a_fact(run, 1))
        transaction = store.step_transaction(fence_of(run, worker))
        await transaction.begin()
        with pytest.raises(StoreError):
            await transaction.commit([a_fact(run, 1, payload='"another"'), ShowProgress(run.uid, None, "note")])
        await transaction.roll_back()
        assert (await the_run(store, run.id)).note is None
        await worker.write(a_fact(run, 2))

    async def test_the_receipt_is_the_very_row(self, store: Store, worker: Scribe, run: Run) -> None:
        fact = a_fact(run, 1)
        assert not await store.recorded(fact)
        await worker.write(fact)
        assert await store.recorded(fact)
        for other in (
            fact._replace(at=fact.at + 1), fact._replace(payload=None), fact._replace(position=2),
            fact._replace(generation=2), fact._replace(uid="another"), fact._replace(due=None),
        ):  # fmt: skip
            assert not await store.recorded(other), other
        bare = a_fact(run, 2, payload=None, started_at=None, due=None, digest=None, target=None)
        await worker.write(bare)
        assert await store.recorded(bare)
        await worker.write(EndRun(run.uid, "completed", None, None, NOW))
        assert await store.recorded(fact), "whatever has become of the run"

    async def test_the_receipt_waits_for_a_transaction_that_is_under_way(
        self, stores: Stores, store: Store, worker: Scribe, run: Run
    ) -> None:
        """Whoever asks while the commit of the lost reply is still on its way gets the answer that will hold."""
        other = await stores.open()
        fact = a_fact(run, 1)
        transaction = store.step_transaction(fence_of(run, worker))
        await transaction.begin()
        committing = asyncio.create_task(transaction.commit([fact]))
        await committing
        await transaction.roll_back()
        assert await other.recorded(fact)

    async def test_two_of_one_run_are_both_recorded(self, store: Store, worker: Scribe, run: Run) -> None:
        async def one(position: int) -> bool:
            return await self.commits(store, fence_of(run, worker), run, position)

        assert await asyncio.gather(*(one(position) for position in range(1, 6))) == [True] * 5
        assert sorted(await self.facts(store, run)) == [1, 2, 3, 4, 5]

    async def test_one_whose_time_is_over_lets_go_of_everything(self, store: Store, worker: Scribe, run: Run) -> None:
        """While its function still has the connection."""
        transaction = store.step_transaction(fence_of(run, worker))
        connection = await transaction.begin()
        await transaction.roll_back()
        await worker.write(a_fact(run, 1))
        assert connection is not None
        assert await self.commits(store, fence_of(run, worker), run, 2)

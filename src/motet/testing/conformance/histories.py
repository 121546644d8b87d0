"""Histories: the facts of a run's generation, in the order of their positions, as they were recorded."""

from __future__ import annotations

import pytest

from motet.errors import StoreRejected
from motet.model.history import Recorded
from motet.store.mutations import Mutation
from motet.store.protocol import Store
from motet.testing.conformance.records import NOW, a_fact, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite


class Histories(StoreSuite):
    """What replay reads."""

    async def test_a_fact_comes_back_as_written(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        full = a_fact(run, 1)
        bare = Recorded(run.uid, 1, 2, 1, "", "run", "cancel", NOW, None, 0, None, None, None, None)
        await worker.write(run, full, bare)
        assert await store.histories([(run.uid, 1)]) == {run.uid: [full, bare]}
        assert full.fact.op == "charge#1"

    async def test_the_order_is_that_of_positions(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, *(a_fact(run, position) for position in (3, 1, 11, 2)))
        await worker.write(a_fact(run, 10))
        history = (await store.histories([(run.uid, 1)]))[run.uid]
        assert [fact.position for fact in history] == [1, 2, 3, 10, 11]

    async def test_generations_have_histories_of_their_own(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        second = run._replace(generation=2)
        await worker.write(run, a_fact(run, 1), a_fact(run, 2), a_fact(second, 1))
        assert len((await store.histories([(run.uid, 1)]))[run.uid]) == 2
        assert await store.histories([(run.uid, 2)]) == {run.uid: [a_fact(second, 1)]}
        assert await store.histories([(run.uid, 3)]) == {run.uid: []}

    async def test_many_at_once_and_no_other(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id) for _ in range(600)]
        units: list[list[Mutation]] = [[run, a_fact(run, 1), a_fact(run, 2)] for run in runs]
        await worker.units(*units)
        asked = runs[::2]
        histories = await store.histories([(run.uid, 1) for run in asked])
        assert histories == {run.uid: [a_fact(run, 1), a_fact(run, 2)] for run in asked}
        assert await store.histories([]) == {}

    async def test_a_position_holds_one_fact_for_good(self, store: Store, worker: Scribe) -> None:
        """Whoever records another there has not seen the history that it goes on from."""
        run = owned_run(worker.id)
        await worker.write(run, a_fact(run, 1))
        for other in (a_fact(run, 1, payload='"other"'), a_fact(run, 1, op="refund#1"), a_fact(run, 1, payload=None)):
            with pytest.raises(StoreRejected, match="position 1 of run"):
                await worker.write(a_fact(run, 2), other)
        assert await store.histories([(run.uid, 1)]) == {run.uid: [a_fact(run, 1)]}

    async def test_long_histories(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, *(a_fact(run, position) for position in range(1, 5001)))
        history = (await store.histories([(run.uid, 1)]))[run.uid]
        assert [fact.position for fact in history] == list(range(1, 5001))

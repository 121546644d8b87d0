"""Taking: a claim, together with all that the new owner needs to go on."""

from __future__ import annotations

import pytest

from motet.errors import LeaseLost
from motet.store.mutations import ReleaseRun
from motet.store.protocol import Store
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_fact, a_message, a_run, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite


class Taking(StoreSuite):
    """One verb for several."""

    async def test_whoever_takes_gets_what_it_needs_to_go_on(self, store: Store, worker: Scribe) -> None:
        fresh, told, driven = a_run("fresh", origin=None), a_run("told", origin=None), owned_run(worker.id, "driven")
        rerun, fact = a_run("rerun"), a_fact(driven, 1)
        await worker.write(fresh, told, a_message(told), driven, fact, rerun, a_fact(rerun, 1))
        await worker.write(ReleaseRun(driven.uid, "waiting", NOW, None))
        taken = await store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)
        assert {run.id for run in taken.runs} == {"fresh", "told", "driven", "rerun"}
        assert {*taken.runs} == {*await store.owned(worker.id)}
        assert {uid for uid, facts in taken.histories.items() if facts} == {driven.uid, rerun.uid}
        assert taken.histories[driven.uid] == [fact]
        assert [message.uid for message in taken.inbox] == [told.uid]
        assert not (await store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)).runs

    @pytest.mark.parametrize("epoch", [0, 1])
    async def test_the_only_one_comes_with_its_history(self, store: Store, worker: Scribe, epoch: int) -> None:
        run = a_run("r", origin=None, epoch=epoch)
        facts = [a_fact(run, 1)] if epoch else []
        await worker.write(run, *facts)
        taken = await store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)
        assert taken.runs == await store.owned(worker.id)
        assert taken.histories.get(run.uid, []) == facts
        assert taken.inbox == []

    async def test_what_waits_for_the_only_one_comes_with_it(self, store: Store, worker: Scribe) -> None:
        run = a_run("r", origin=None)
        await worker.write(run, a_message(run))
        taken = await store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)
        assert ([one.id for one in taken.runs], [message.uid for message in taken.inbox]) == (["r"], [run.uid])

    async def test_the_buried_take_nothing(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r"))
        assert await store.bury(worker.id, worker.batch)
        with pytest.raises(LeaseLost):
            await store.take(worker.id, KNOWN, FINGERPRINT, NOW, 10)

"""The inbox: what others have to tell a run waits until its owner has recorded it, and no longer than the run lives."""

from __future__ import annotations

from motet.store.mutations import EndRun, EndWait, PutInbox, RegisterWait, ReleaseRun, TakeInbox
from motet.store.protocol import Store
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_fact, a_message, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, a_ticket


class Inboxes(StoreSuite):
    """The only way in."""

    async def test_a_message_waits_until_it_is_taken(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        message = a_message(run, payload=None)
        await worker.write(run)
        await store.commit([[message]], a_ticket())
        assert await store.inbox(worker.id) == [message]
        assert (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)).inbox
        await worker.write(a_fact(run, 1), TakeInbox(run.uid, "cancel"))
        assert await store.inbox(worker.id) == []
        assert not (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)).inbox

    async def test_the_same_key_waits_once_and_the_first_stands(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        first, second = a_message(run, payload='"1"'), a_message(run, payload='"2"')
        await worker.write(run, first, second)
        await store.commit([[second]], a_ticket())
        assert await store.inbox(worker.id) == [first]

    async def test_once_taken_the_key_is_free_again(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, a_message(run))
        await worker.write(TakeInbox(run.uid, "cancel"))
        again = a_message(run, payload='"again"')
        await store.commit([[again]], a_ticket())
        assert await store.inbox(worker.id) == [again]

    async def test_what_a_wait_finds_again_is_taken_in_the_same_batch(self, store: Store, worker: Scribe) -> None:
        """A run that comes back to memory looks again, and records what it was told before: nothing stays behind."""
        run, event = owned_run(worker.id), an_event(subject="k")
        wait = RegisterWait(run.uid, "1.t#1", "k", f'{{"{event.type}":[0]}}')
        await worker.write(run)
        await worker.write(wait)
        await worker.write(event)
        (told,) = await store.inbox(worker.id)
        await worker.units([wait], [a_fact(run, 1), TakeInbox(run.uid, told.key), EndWait(run.uid, "1.t#1")])
        assert await store.inbox(worker.id) == []

    async def test_the_oldest_comes_first(self, store: Store, worker: Scribe) -> None:
        one, other = owned_run(worker.id), owned_run(worker.id)
        messages = [a_message(one, "c", at=3), a_message(other, "b", at=1), a_message(one, "a", at=2)]
        await worker.write(one, other, *messages)
        assert [message.at for message in await store.inbox(worker.id)] == [1, 2, 3]

    async def test_each_worker_hears_for_its_own_runs(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store)
        mine, others = owned_run(worker.id), owned_run(other.id)
        await worker.write(mine, others, a_message(mine), a_message(others))
        assert await store.inbox(worker.id) == [a_message(mine)]
        assert await store.inbox(other.id) == [a_message(others)]
        await worker.write(ReleaseRun(mine.uid, "waiting", None, None))
        assert await store.inbox(worker.id) == []

    async def test_taking_touches_no_other_message(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id) for _ in range(3)]
        await worker.write(*runs, *(a_message(run, key) for run in runs for key in ("a", "b")))
        await worker.write(TakeInbox(runs[0].uid, "a"), TakeInbox(runs[1].uid, "b"), TakeInbox(runs[2].uid, "none"))
        left = {(message.uid, message.key) for message in await store.inbox(worker.id)}
        assert left == {(runs[0].uid, "b"), (runs[1].uid, "a"), (runs[2].uid, "a"), (runs[2].uid, "b")}

    async def test_an_end_empties_the_inbox_and_closes_it(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id), owned_run(worker.id)
        await worker.write(run, other, a_message(run), a_message(other))
        await worker.write(EndRun(run.uid, "completed", None, None, NOW), a_message(run, "in the same batch"))
        await store.commit([[a_message(run, "too late")]], a_ticket())
        assert await store.inbox(worker.id) == [a_message(other)]
        heir = await Scribe.register(store)
        assert await heir.claim() == [], "nobody is woken for it"

    async def test_a_child_tells_its_parent_in_the_fact_that_ends_it(self, store: Store, worker: Scribe) -> None:
        parent, child = owned_run(worker.id), owned_run(worker.id, parent="p.1.child#1")
        told = PutInbox(parent.uid, "child:1", "child", '{"state":"completed"}', NOW)
        await worker.write(parent, child)
        await worker.write(EndRun(child.uid, "completed", "1", None, NOW), told)
        assert await store.inbox(worker.id) == [told]

"""Queues: claimed in turn, by priority within each, and never more of one at a time than its limit says."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from motet.model.run import Run, Version
from motet.store.mutations import EndRun, ReleaseRun
from motet.store.protocol import Prospect, Store
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_message, a_run, a_worker, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, the_run

MAIL = "mail"


class Queueing(StoreSuite):
    """Who goes first, and how many at a time."""

    async def test_queue_and_priority_come_back_as_written(self, store: Store, worker: Scribe) -> None:
        run = a_run("r", queue=MAIL, priority=-7)
        await worker.write(run)
        assert await store.run("r") == run

    async def test_higher_priorities_first_then_those_due_longest(self, worker: Scribe) -> None:
        await worker.write(
            a_run("plain", wake_at=NOW - 9), a_run("urgent", priority=5), a_run("later", priority=5, wake_at=NOW - 1),
            a_run("low", priority=-1, wake_at=0), a_run("future", priority=50, wake_at=NOW + 1),
        )  # fmt: skip
        assert [await worker.claim(1) for _ in range(5)] == [["later"], ["urgent"], ["plain"], ["low"], []]

    async def test_what_is_claimed_together_comes_in_this_order(self, worker: Scribe) -> None:
        runs = [a_run(f"{priority}:{n}", priority=priority, wake_at=NOW - n) for priority in (0, 2, 1) for n in (1, 2)]
        await worker.write(*runs)
        assert await worker.claim() == ["2:2", "2:1", "1:2", "1:1", "0:2", "0:1"]

    async def test_no_workflow_hides_the_higher_priority_of_another(self, store: Store, worker: Scribe) -> None:
        lines = [("a/one", 5), ("a/one", 0), ("b/two", -1), ("b/two", 9)]
        await worker.write(
            *(a_run(f"{name}:{rank}:{n}", workflow=name, priority=rank) for name, rank in lines for n in range(4))
        )
        claimed = await store.claim(worker.id, [Version("a/one", 3), Version("b/two", 3)], FINGERPRINT, NOW, 6)
        assert [run.priority for run in claimed] == [9, 9, 9, 9, 5, 5]

    async def test_of_one_priority_all_workflows_share_a_line(self, store: Store, worker: Scribe) -> None:
        known = [Version("a/one", 3), Version("a/two", 3), Version("b/one", 3)]
        await worker.write(
            *(a_run(f"{name}{n}", workflow=name, wake_at=NOW - n) for name, _ in known for n in range(3))
        )
        claimed = await store.claim(worker.id, known, FINGERPRINT, NOW, 6)
        assert {run.id[-1] for run in claimed} == {"1", "2"}, "those due longest, whatever their workflow"

    async def test_queues_take_turns(self, worker: Scribe) -> None:
        many = [a_run(f"many{n}", queue="many", priority=100, wake_at=NOW - 1000 + n) for n in range(300)]
        few = [a_run(f"few{n}", queue="few", priority=-100) for n in range(5)]
        await worker.write(*many, *few, a_run("alone"))
        taken = Counter(id.rstrip("0123456789") for id in await worker.claim(20))
        assert taken == {"many": 14, "few": 5, "alone": 1}

    async def test_more_queues_than_may_be_claimed_all_have_their_turn(self, worker: Scribe) -> None:
        await worker.write(
            *(a_run(f"q{n}:{k}", queue=f"q{n}", wake_at=NOW - 50 + k) for n in range(10) for k in (0, 1))
        )
        first = await worker.claim(5) + await worker.claim(5)
        assert sorted(first) == sorted(f"q{n}:0" for n in range(10))

    async def test_a_full_queue_is_left_alone(self, store: Store, worker: Scribe) -> None:
        run, told = a_run("r", queue=MAIL), a_run("told", queue=MAIL, wake_at=None)
        await worker.write(run, told, a_message(told))
        for full in ((MAIL,), (MAIL, "other")):
            assert await store.claim(worker.id, KNOWN, FINGERPRINT, NOW, 10, full) == []
            assert not (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW, full)).claimable
        claimed = await store.claim(worker.id, KNOWN, FINGERPRINT, NOW, 10, ("other",))
        assert {run.id for run in claimed} == {"r", "told"}

    # --- limits -----------------------------------------------------------------------------------------------

    async def test_a_limit_holds_for_all_workers_together(self, store: Store) -> None:
        one, two = await _limited(store, 3), await Scribe.register(store)
        await one.write(*(a_run(f"r{n}", queue=MAIL) for n in range(5)), a_run("free"))
        assert len(await one.claim(3)) == 3  # two of the queue, and the free one
        assert len(await two.claim()) == 1
        assert await one.claim() == await two.claim() == []
        running = await _owned(store, one, two)
        await one.write(EndRun(running[0].uid, "completed", None, None, NOW))
        assert len(await two.claim()) == 1, "who ends leaves a place"

    async def test_who_leaves_memory_leaves_a_place(self, store: Store) -> None:
        worker = await _limited(store, 1)
        await worker.write(a_run("first", queue=MAIL, wake_at=NOW - 1), a_run("second", queue=MAIL))
        assert await worker.claim() == ["first"]
        (first,) = await store.owned(worker.id)
        await worker.write(ReleaseRun(first.uid, "waiting", NOW + 100, None))
        assert await worker.claim() == ["second"]

    async def test_the_dead_and_the_gone_leave_their_places(self, store: Store) -> None:
        dead, gone = await _limited(store, 2), await Scribe.register(store)
        await dead.write(*(a_run(f"r{n}", queue=MAIL) for n in range(4)))
        assert len(await dead.claim(1)) == len(await gone.claim(1)) == 1
        heir = await Scribe.register(store)
        assert await heir.claim() == []
        assert await store.bury(dead.id, 1)
        await store.resign(gone.id)
        assert len(await heir.claim()) == 2
        assert await heir.claim() == []

    async def test_messages_and_cures_wait_for_a_place_too(self, store: Store) -> None:
        worker = await _limited(store, 1)
        told = a_run("told", queue=MAIL, state="waiting", wake_at=None)
        cured = a_run("cured", queue=MAIL, state="blocked", parked="divergence", wake_at=None)
        await worker.write(a_run("r", queue=MAIL, priority=1), told, cured, a_message(told))
        assert await worker.claim(fingerprint="f2") == ["r"]
        assert await worker.claim(fingerprint="f2") == []
        assert not (await _prospect(store, worker, "f2")).claimable
        (r,) = await store.owned(worker.id)
        await worker.write(EndRun(r.uid, "completed", None, None, NOW))
        assert (await _prospect(store, worker, "f2")).claimable
        assert len(await worker.claim(fingerprint="f2")) == 1

    async def test_a_start_in_a_limited_queue_waits_for_a_claim(self, store: Store) -> None:
        worker = await _limited(store, 5)
        limited, free = owned_run(worker.id, "limited", queue=MAIL), owned_run(worker.id, "free", queue="other")
        receipt = await worker.write(limited, free, owned_run(worker.id, "default"))
        assert not receipt.lost and receipt.waiting == {limited.uid}
        assert await store.run("limited") == limited.unowned()
        assert await store.run("free") == free
        receipt = await store.commit([[limited, free]], None)
        assert not receipt.lost and receipt.waiting == {limited.uid}, "written again, it is told again"
        assert await worker.claim(at=limited.created_at) == ["limited"]

    async def test_a_start_that_loses_does_not_wait(self, store: Store) -> None:
        worker = await _limited(store, 5)
        await worker.write(a_run("r", queue=MAIL))
        second = owned_run(worker.id, "r", queue=MAIL)
        receipt = await worker.write(second)
        assert (set(receipt.lost), receipt.waiting) == ({second.uid}, frozenset())

    async def test_crowded_is_where_somebody_waits_for_a_place(self, store: Store) -> None:
        worker = await _limited(store, 1)
        await worker.write(a_run("r", queue=MAIL))
        await worker.claim()
        assert (await _prospect(store, worker)).crowded == frozenset(), "it is full, but nobody waits"
        strange = a_run("strange", queue=MAIL, workflow="other/thing", wake_at=NOW + 1)
        await worker.write(strange)
        assert (await _prospect(store, worker)).crowded == frozenset(), "it does not wait yet"
        assert (await _prospect(store, worker, at=NOW + 1)).crowded == {MAIL}, "whoever knows the one that waits"
        await worker.write(a_message(strange))
        assert (await _prospect(store, worker)).crowded == {MAIL}

    @pytest.mark.parametrize("limit", [1, 7])
    async def test_a_limit_holds_however_many_claim_at_once(self, stores: Stores, limit: int) -> None:
        workers = [await _limited(await stores.open(), limit) for _ in range(4)]
        await workers[0].write(*(a_run(f"r{n}", queue=MAIL) for n in range(40)))
        done: list[str] = []

        async def work(scribe: Scribe) -> None:
            while len(done) < 40:
                await scribe.claim(3)
                mine = await scribe.store.owned(scribe.id)
                assert await _driven(scribe.store) <= limit
                done.extend(run.id for run in mine)
                await scribe.write(*(EndRun(run.uid, "completed", None, None, NOW) for run in mine))

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(scribe) for scribe in workers))
        assert sorted(done) == sorted(f"r{n}" for n in range(40))

    # --- what is declared -------------------------------------------------------------------------------------

    async def test_what_was_said_last_holds(self, store: Store) -> None:
        worker = await _limited(store, 1)
        await worker.write(*(a_run(f"r{n}", queue=MAIL) for n in range(9)))
        assert len(await worker.claim()) == 1
        await _limited(store, 3)
        assert len(await worker.claim()) == 2
        await _limited(store, 2)
        assert await worker.claim() == [], "who is driven already is left alone"
        await store.register(a_worker(), {}, NOW)
        assert await worker.claim() == [], "who says nothing changes nothing"
        await _limited(store, None)
        assert len(await worker.claim()) == 6

    async def test_queues_are_listed(self, store: Store) -> None:
        worker = await _limited(store, 2)
        await store.register(a_worker(), {}, NOW, {"unused": None})
        await worker.write(*(a_run(f"r{n}", queue=MAIL, wake_at=NOW - n) for n in range(5)))
        await worker.write(a_run("later", queue=MAIL, wake_at=NOW + 1), a_run("r", wake_at=0), a_run("f", queue="free"))
        await worker.claim(4)
        found = {row.name: row[1:] for row in await store.queues(NOW)}
        assert found == {
            "default": (None, 1, 0, None), "free": (None, 1, 0, None), MAIL: (2, 2, 3, NOW - 2),
            "unused": (None, 0, 0, None),
        }  # fmt: skip

    async def test_a_run_that_was_freed_waits_since_it_was_created(self, store: Store, worker: Scribe) -> None:
        await worker.write(owned_run(worker.id, "r"))
        await store.resign(worker.id)
        (row,) = await store.queues(NOW)
        assert row.oldest == (await the_run(store, "r")).created_at


async def _limited(store: Store, limit: int | None) -> Scribe:
    """A worker that says how many of one queue may be driven at the same time."""
    return Scribe(store, await store.register(a_worker(), {}, NOW, {MAIL: limit}))


async def _prospect(store: Store, worker: Scribe, fingerprint: str = FINGERPRINT, *, at: int = NOW) -> Prospect:
    return await store.prospect(worker.id, KNOWN, fingerprint, at)


async def _driven(store: Store) -> int:
    """How many runs of the queue are driven, whoever does: one read, for between two of them a run changes hands."""
    (driven,) = (row.running for row in await store.queues(NOW) if row.name == MAIL)
    return driven


async def _owned(store: Store, *workers: Scribe) -> list[Run]:
    """The runs of the queue that these workers drive."""
    return [run for worker in workers for run in await store.owned(worker.id) if run.queue == MAIL]

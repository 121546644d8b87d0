"""Listing: the newest first, page by page, filtered by what people know of their runs."""

from __future__ import annotations

from motet.model.clock import SECOND
from motet.store.protocol import RunFilter, Store
from motet.testing.conformance.records import NOW, a_run
from motet.testing.conformance.setting import Scribe, StoreSuite


class Listing(StoreSuite):
    """What lists, counts and waiters read."""

    async def test_the_newest_first(self, store: Store, worker: Scribe) -> None:
        runs = [a_run(f"r{n}") for n in range(5)]
        await worker.write(*reversed(runs))
        assert await store.runs(RunFilter()) == list(reversed(runs))

    async def test_pages_are_whole_and_do_not_overlap(self, store: Store, worker: Scribe) -> None:
        runs = [a_run(f"r{n}") for n in range(25)]
        await worker.write(*runs)
        listed: list[str] = []
        before: str | None = None
        while page := await store.runs(RunFilter(limit=10, before=before)):
            assert len(page) <= 10
            listed += [run.id for run in page]
            before = page[-1].uid
            await worker.write(a_run())  # what is started meanwhile shifts no page
        assert listed == [run.id for run in reversed(runs)]

    async def test_by_workflow_with_or_without_its_app(self, store: Store, worker: Scribe) -> None:
        names = ["shop/buy_it", "shop/buyXit", "shop/BUY_IT", "stall/buy_it", "shop/sell", "buy_it"]
        await worker.write(*(a_run(name, workflow=name) for name in names))

        async def found(workflow: str) -> set[str]:
            return {run.id for run in await store.runs(RunFilter(workflow=workflow))}

        assert await found("shop/buy_it") == {"shop/buy_it"}
        assert await found("buy_it") == {"shop/buy_it", "stall/buy_it", "buy_it"}
        assert await found("it") == set()
        assert await found("%") == set()

    async def test_by_state_and_conversation(self, store: Store, worker: Scribe) -> None:
        await worker.write(
            a_run("a", state="failed", ended_at=NOW, conversation="x"),
            a_run("b", state="blocked", conversation="x"),
            a_run("c", conversation="y"),
        )

        async def found(filter: RunFilter) -> list[str]:
            return sorted(run.id for run in await store.runs(filter))

        assert await found(RunFilter(states=("failed",))) == ["a"]
        assert await found(RunFilter(states=("failed", "blocked"))) == ["a", "b"]
        assert await found(RunFilter(conversation="x")) == ["a", "b"]
        assert await found(RunFilter(conversation="x", states=("blocked", "pending"))) == ["b"]
        assert await found(RunFilter(conversation="z")) == []

    async def test_one_by_its_id(self, store: Store, worker: Scribe) -> None:
        run = a_run("purchase-42")
        await worker.write(run)
        assert await store.run("purchase-42") == run
        assert await store.run("PURCHASE-42") is None
        assert await store.run(run.uid) is None

    async def test_counts_by_state(self, store: Store, worker: Scribe) -> None:
        assert await store.counts() == {}
        await worker.write(a_run(), a_run(), a_run(state="blocked"))
        assert await store.counts() == {"pending": 2, "blocked": 1}

    async def test_open_runs_are_counted_without_those_that_have_ended(self, store: Store, worker: Scribe) -> None:
        assert await store.open_runs(NOW) == ({}, 0, None)
        await worker.write(
            a_run(wake_at=NOW - 5 * SECOND), a_run(wake_at=NOW), a_run(wake_at=NOW + 1), a_run(wake_at=None),
            a_run(state="waiting", wake_at=NOW - 7 * SECOND), a_run(state="blocked", wake_at=None),
            a_run(state="blocked", wake_at=None), a_run(state="running", owner=worker.id),
            a_run(state="compensating", owner=worker.id),
            *(a_run(state=state, ended_at=NOW) for state in ("completed", "failed", "cancelled")),
        )  # fmt: skip
        found = await store.open_runs(NOW)
        assert found.states == {"pending": 4, "waiting": 1, "blocked": 2, "running": 1, "compensating": 1}
        assert (found.due, found.oldest_due) == (3, NOW - 7 * SECOND)

    async def test_what_a_dead_worker_leaves_is_due_since_its_start(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run(state="running", owner=worker.id, created_at=NOW - 60 * SECOND))
        assert (await store.open_runs(NOW))[1:] == (0, None)
        (row,) = [one for one in await store.workers() if one.id == worker.id]
        assert await store.bury(worker.id, row.counter)
        assert (await store.open_runs(NOW))[1:] == (1, NOW - 60 * SECOND)

    async def test_loads_are_the_runs_that_each_worker_owns(self, store: Store, worker: Scribe) -> None:
        assert await store.loads() == {}
        other = await Scribe.register(store)
        await worker.write(*(a_run(owner=worker.id) for _ in range(3)), a_run(), a_run(state="completed", ended_at=NOW))
        await other.write(a_run(owner=other.id))
        assert await store.loads() == {worker.id: 3, other.id: 1}
        await store.resign(worker.id)
        assert await store.loads() == {other.id: 1}

    async def test_outcomes_are_those_that_have_one(self, store: Store, worker: Scribe) -> None:
        ended = [a_run(state=state, ended_at=NOW) for state in ("completed", "failed", "cancelled")]
        blocked = a_run(state="blocked")
        open_ones = [a_run(state=state) for state in ("pending", "running", "waiting", "compensating")]
        await worker.write(*ended, blocked, *open_ones)
        asked = [run.uid for run in (*ended[:2], blocked, *open_ones)]
        assert {run.uid for run in await store.outcomes([*asked, "unknown"])} == {*asked[:3]}
        assert await store.outcomes([]) == []
        crowd = [a_run(state="completed", ended_at=NOW) for _ in range(1200)]
        await worker.write(*crowd)
        assert len(await store.outcomes([run.uid for run in crowd])) == 1200

    async def test_missing_are_those_that_are_not_there(self, store: Store, worker: Scribe) -> None:
        open_one, ended = a_run(), a_run(state="completed", ended_at=NOW)
        await worker.write(open_one, ended)
        assert {*await store.missing([open_one.uid, "unknown", ended.uid, "other"])} == {"unknown", "other"}
        assert await store.missing([]) == []

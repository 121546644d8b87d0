"""Versions of a workflow: a run is for workers that have its own, and anybody can see which is missing."""

from __future__ import annotations

from motet.model.run import Version
from motet.store.mutations import BeginGeneration, EndRun, RegisterWait
from motet.store.protocol import OpenVersion, Store
from motet.testing.conformance.records import (
    FINGERPRINT,
    KNOWN,
    NOW,
    SHOP,
    a_fact,
    a_message,
    a_run,
    a_worker,
    an_event,
    owned_run,
)  # fmt: skip
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run

OLD, NEW = Version(SHOP, 3), Version(SHOP, 4)


class Versioning(StoreSuite):
    """Who may drive which version, what is in flight on which, and what a rerun brings along."""

    async def test_runs_of_other_versions_are_left(self, store: Store, worker: Scribe) -> None:
        mine, newer, older = a_run("mine"), a_run("newer", version=4), a_run("older", version=2)
        await worker.write(mine, newer, older, a_message(newer), a_message(older))
        assert await worker.claim() == ["mine"]
        prospect = await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)
        assert (prospect.claimable, prospect.next_wake) == (False, None)
        assert [run.id for run in await store.claim(worker.id, [NEW], FINGERPRINT, NOW, 10)] == ["newer"]
        assert (await the_run(store, "older")).owner is None

    async def test_who_has_several_versions_takes_the_runs_of_all(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(a_run(f"v{n}", version=n, wake_at=NOW - n) for n in (2, 3, 4, 11)))
        claimed = await store.claim(worker.id, [OLD, Version("other/x", 11), NEW], FINGERPRINT, NOW, 10)
        assert [run.id for run in claimed] == ["v4", "v3"]

    async def test_a_version_is_known_of_its_workflow_only(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r", version=4), a_run("other", workflow="shop/sell"))
        assert not await store.claim(worker.id, [OLD, Version("shop/sell", 4)], FINGERPRINT, NOW, 10)

    async def test_no_version_hides_what_is_due_of_another(self, store: Store, worker: Scribe) -> None:
        await worker.write(
            a_run("late", version=3, wake_at=NOW + 5), a_run("due", version=4), a_run("urgent", version=4, priority=9),
            a_run("unknown", version=5, priority=99),
        )  # fmt: skip
        claimed = await store.claim(worker.id, [OLD, NEW], FINGERPRINT, NOW, 10)
        assert [run.id for run in claimed] == ["urgent", "due"]
        assert (await store.prospect(worker.id, [OLD, NEW], FINGERPRINT, NOW)).next_wake == NOW + 5

    async def test_other_code_of_another_version_does_not_try_what_diverged(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r", state="blocked", parked="divergence", wake_at=None))
        assert not await store.claim(worker.id, [NEW], "f2", NOW, 10)
        assert not (await store.prospect(worker.id, [NEW], "f2", NOW)).claimable
        assert [run.id for run in await store.claim(worker.id, [NEW, OLD], "f2", NOW, 10)] == ["r"]

    async def test_a_generation_may_change_the_version(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r"), owned_run(worker.id, "other")
        await worker.write(run, other)
        await worker.write(BeginGeneration(run.uid, 2, '"i"', NOW, None, 4), BeginGeneration(other.uid, 2, '"i"', NOW))
        assert ((await the_run(store, "r")).version, (await the_run(store, "other")).version) == (4, 3)

    async def test_what_is_in_flight_on_which_version(self, store: Store, worker: Scribe) -> None:
        ended = owned_run(worker.id, "ended")
        runs = [
            a_run("first", created_at=NOW - 9), a_run("second"), a_run("waits", state="waiting", wake_at=None),
            a_run("newer", version=4, fingerprint="f2"), a_run("else", workflow="shop/sell"),
            a_run("blocked", state="blocked", parked="incident", wake_at=None),
        ]  # fmt: skip
        await worker.write(ended, owned_run(worker.id, "driven", fingerprint="f0", created_at=NOW), *runs)
        await worker.write(EndRun(ended.uid, "completed", None, None, NOW))
        found = (await store.versions()).open
        assert sorted(found, key=lambda row: row[:4]) == [
            OpenVersion("shop/buy", 3, "f0", "running", 1, NOW),
            OpenVersion("shop/buy", 3, FINGERPRINT, "blocked", 1, NOW + 1),
            OpenVersion("shop/buy", 3, FINGERPRINT, "pending", 2, NOW - 9),
            OpenVersion("shop/buy", 3, FINGERPRINT, "waiting", 1, NOW + 1),
            OpenVersion("shop/buy", 4, "f2", "pending", 1, NOW + 1),
            OpenVersion("shop/sell", 3, FINGERPRINT, "pending", 1, NOW + 1),
        ]

    async def test_who_knows_which_version(self, store: Store) -> None:
        both = await store.register(a_worker(), {"shop/buy@3": "{}", "shop/buy@12": "{}"}, NOW)
        one = await store.register(a_worker(), {"shop/buy@3": "{}"}, NOW)
        gone = await store.register(a_worker(), {"shop/buy@3": "{}", "shop/sell@1": "{}"}, NOW)
        assert (await store.versions()).known == {
            OLD: [both, one, gone], Version(SHOP, 12): [both], Version("shop/sell", 1): [gone],
        }  # fmt: skip
        await store.resign(gone)
        await store.bury(both, 0)
        assert (await store.versions()).known == {OLD: [one]}, "the dead and those that have left know nothing"
        assert [await store.knowing(version) for version in (OLD, Version(SHOP, 12))] == [[one], []]

    async def test_facts_come_with_the_start_that_they_belong_to(self, store: Store, worker: Scribe) -> None:
        run = a_run("r")
        receipt = await worker.write(run, a_fact(run, 1), a_fact(run, 2))
        assert not receipt.lost
        assert [row.position for row in (await store.histories([(run.uid, 1)]))[run.uid]] == [1, 2]

    async def test_a_start_that_loses_leaves_no_facts(self, store: Store, worker: Scribe) -> None:
        first, other = a_run("r"), owned_run(worker.id, "other")
        await worker.write(first, other)
        late = a_run("r")
        receipt = await worker.write(late, a_fact(late, 1), a_fact(other, 1))
        assert receipt.lost == {late.uid: first}
        found = await store.histories([(late.uid, 1), (other.uid, 1)])
        assert (found[late.uid], len(found[other.uid])) == ([], 1), "but those of others are written"

    async def test_a_rerun_may_wait_for_what_came_before_it(self, store: Store, worker: Scribe) -> None:
        """But who is no rerun, or of a run that is not there, begins at the log's head."""
        source, event = owned_run(worker.id, origin=None), an_event(subject="k")
        await worker.write(source)
        await worker.write(event)
        late = [
            owned_run(worker.id, origin=origin)
            for origin in (f'{{"uid":"{source.uid}"}}', None, '{"uid":"nobody"}')
        ]  # fmt: skip
        await worker.write(*late)
        await worker.write(*(RegisterWait(run.uid, "1.t#1", "k", f'{{"{event.type}":[0]}}') for run in late))
        assert [message.uid for message in await store.inbox(worker.id)] == [late[0].uid]

"""Claiming: what is due and belongs to nobody goes to one worker that knows it; what needs a person waits for one."""

from __future__ import annotations

import asyncio

import pytest

from motet.errors import LeaseLost
from motet.model.run import Parked, Run
from motet.store.protocol import Store
from motet.testing.conformance.records import FINGERPRINT, KNOWN, NOW, a_message, a_run, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, the_run


class Claiming(StoreSuite):
    """Who drives what."""

    async def test_a_due_run_gets_an_owner(self, store: Store, worker: Scribe) -> None:
        run = a_run("r")
        await worker.write(run)
        (claimed,) = await store.claim(worker.id, KNOWN, FINGERPRINT, NOW, 10)
        assert claimed == run._replace(owner=worker.id, epoch=1, wake_at=None, state="running")
        assert await store.run("r") == claimed
        assert await store.owned(worker.id) == [claimed]
        assert await worker.claim() == [], "it is taken"

    async def test_states_that_say_more_than_running_stay(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(a_run(state, state=state) for state in ("pending", "waiting", "compensating", "blocked")))
        assert len(await worker.claim()) == 4
        after = {run.id: run.state for run in await store.owned(worker.id)}
        assert after == {
            "pending": "running", "waiting": "running", "compensating": "compensating", "blocked": "blocked"
        }  # fmt: skip

    async def test_those_due_longest_come_first_and_the_limit_holds(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(a_run(f"r{n}", wake_at=NOW - n) for n in range(10)))
        assert sorted(await worker.claim(3)) == ["r7", "r8", "r9"]
        assert len(await worker.claim(100)) == 7

    async def test_what_is_not_due_waits(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("due", wake_at=NOW), a_run("later", wake_at=NOW + 1), a_run("never", wake_at=None))
        prospect = await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)
        assert (prospect.claimable, prospect.next_wake) == (True, NOW + 1)
        assert await worker.claim() == ["due"]
        prospect = await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)
        assert (prospect.claimable, prospect.next_wake) == (False, NOW + 1)
        assert await worker.claim(at=NOW + 1) == ["later"]
        assert (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW + 1)).next_wake is None

    async def test_unknown_workflows_are_left(self, store: Store, worker: Scribe) -> None:
        mine, strange = a_run("mine"), a_run("strange", workflow="other/thing")
        await worker.write(mine, strange, a_message(strange))
        assert await worker.claim() == ["mine"]
        assert not (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)).claimable
        assert (await the_run(store, "strange")).owner is None
        assert not await store.claim(worker.id, [], FINGERPRINT, NOW, 10), "who knows nothing takes nothing"

    async def test_the_owned_are_not_claimed(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store)
        await worker.write(owned_run(worker.id, "r", wake_at=NOW))
        assert await other.claim() == []

    async def test_a_message_wakes_a_waiting_run(self, store: Store, worker: Scribe) -> None:
        run, quiet = a_run("r", state="waiting", wake_at=NOW + 100), a_run("quiet", state="waiting", wake_at=None)
        await worker.write(run, quiet, a_message(run), a_message(run, "another"))
        prospect = await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)
        assert (prospect.claimable, prospect.inbox) == (True, False)
        assert await worker.claim() == ["r"]
        assert [message.key for message in await store.inbox(worker.id)] == ["another", "cancel"]

    @pytest.mark.parametrize(
        ("parked", "kind", "woken"),
        [
            ("incident", "skip", True),
            ("incident", "cancel", True),
            ("divergence", "cancel", False),
            ("divergence", "retry", True),
            ("crash", "cancel", False),
            ("crash", "retry", True),
            ("corrupt", "cancel", False),
            ("corrupt", "retry", True),
        ],
    )
    async def test_what_wakes_a_blocked_run(
        self, store: Store, worker: Scribe, parked: Parked, kind: str, woken: bool
    ) -> None:
        run = _blocked(parked)
        await worker.write(run, a_message(run, kind=kind))
        assert (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)).claimable is woken
        assert await worker.claim() == (["r"] if woken else [])

    async def test_other_code_may_try_what_diverged(self, store: Store, worker: Scribe) -> None:
        await worker.write(_blocked("divergence"))
        assert await worker.claim() == [], "this code has tried"
        assert not (await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)).claimable
        assert (await store.prospect(worker.id, KNOWN, "f2", NOW)).claimable
        assert await worker.claim(fingerprint="f2") == ["r"]

    @pytest.mark.parametrize("parked", ["incident", "crash", "corrupt"])
    async def test_other_code_does_not_help_the_other_blocked(
        self, store: Store, worker: Scribe, parked: Parked
    ) -> None:
        await worker.write(_blocked(parked))
        assert await worker.claim(fingerprint="f2") == []

    async def test_the_dead_claim_nothing(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r"))
        assert await store.bury(worker.id, 1)
        with pytest.raises(LeaseLost):
            await worker.claim()
        assert (await the_run(store, "r")).owner is None

    async def test_epochs_grow_with_each_owner(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r"))
        for epoch in (1, 2, 3):
            owner = await Scribe.register(store)
            await owner.claim()
            assert (await the_run(store, "r")).epoch == epoch
            await store.bury(owner.id, 0)

    async def test_each_run_goes_to_one_of_many(self, stores: Stores, store: Store, worker: Scribe) -> None:
        ids = {f"r{n}" for n in range(200)}
        await worker.write(*(a_run(id) for id in ids))
        workers = [await Scribe.register(await stores.open()) for _ in range(4)]

        async def take(scribe: Scribe) -> list[str]:
            taken: list[str] = []
            while chunk := await scribe.claim(7):
                taken += chunk
            return taken

        shares = await asyncio.gather(*(take(scribe) for scribe in workers))
        assert sorted(id for share in shares for id in share) == sorted(ids)

    async def test_prospect_writes_nothing(self, store: Store, worker: Scribe) -> None:
        await worker.write(a_run("r"))
        await store.changed()
        for _ in range(3):
            await store.prospect(worker.id, KNOWN, FINGERPRINT, NOW)
        assert not await store.changed()


def _blocked(parked: Parked) -> Run:
    return a_run("r", state="blocked", parked=parked, wake_at=None)

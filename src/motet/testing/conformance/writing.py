"""Writing: every field comes back as it was written, a batch is written whole or not at all."""

from __future__ import annotations

import pytest

from motet.errors import StoreRejected
from motet.model.run import Run
from motet.store.mutations import BeginGeneration, EndRun, EnterState, Mutation, ReleaseRun, ShowProgress, TakeInbox
from motet.store.protocol import Store
from motet.testing.conformance.records import NOW, a_fact, a_message, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run


class Writes(StoreSuite):
    """Each kind of mutation, alone and in crowds."""

    async def test_a_start_comes_back_as_written(self, store: Store, worker: Scribe) -> None:
        full = a_run("full", owner=worker.id, state="running", wake_at=None, parent="uid.1.child#1", crashes=2,
                     result="1", error="2", current="[]", note="n", ended_at=NOW, parked="incident")  # fmt: skip
        bare = a_run("bare", input=None, attributes=None, cause=None, deadline_at=None, wake_at=None)
        await worker.write(full, bare)
        assert await store.run("full") == full
        assert await store.run("bare") == bare

    async def test_progress(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.write(ShowProgress(run.uid, '["a"]', None))
        assert await store.run("r") == run._replace(current='["a"]')
        await worker.write(ShowProgress(run.uid, None, "half way"))
        assert await store.run("r") == run._replace(current='["a"]', note="half way"), "a note leaves the rest"
        await worker.write(ShowProgress(run.uid, None, None))
        assert await store.run("r") == run._replace(current=None, note="half way"), "the last note stands"

    async def test_an_acquittal(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r", crashes=4), owned_run(worker.id, "other", crashes=4)
        await worker.write(run, other)
        await worker.write(ShowProgress(run.uid, "[1]", None, acquitted=True), ShowProgress(other.uid, "[2]", None))
        assert await store.run("r") == run._replace(current="[1]", crashes=0)
        assert await store.run("other") == other._replace(current="[2]"), "the others' crashes stay counted"

    async def test_entering_a_state(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.write(EnterState(run.uid, "blocked", '"why"', "incident", "f2"))
        assert await store.run("r") == run._replace(state="blocked", error='"why"', parked="incident", fingerprint="f2")

    async def test_a_new_generation(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run, a_fact(run, 1))
        await worker.write(
            ShowProgress(run.uid, "[]", "n"), EnterState(run.uid, "compensating", '"e"', None, run.fingerprint)
        )
        await worker.write(BeginGeneration(run.uid, 2, '"next"', NOW + 9))
        second = run._replace(generation=2, input='"next"', started_at=NOW + 9, note="n", first_input=run.input)
        assert await store.run("r") == second, "it is running, with nothing of the first but its note"
        assert await store.histories([(run.uid, 2)]) == {run.uid: []}
        await worker.write(BeginGeneration(run.uid, 3, '"third"', NOW + 10))
        third = await the_run(store, "r")
        assert (third.input, third.started_with) == ('"third"', run.input), "what it was started with stays known"

    async def test_an_end(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run, ShowProgress(run.uid, "[]", "n"))
        await worker.write(EndRun(run.uid, "failed", None, '"boom"', NOW + 8))
        assert await store.run("r") == run._replace(
            state="failed", error='"boom"', ended_at=NOW + 8, owner=None, note="n"
        )

    async def test_a_release(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        await worker.write(run)
        await worker.write(ReleaseRun(run.uid, "waiting", NOW + 7, '["timer"]'))
        assert await store.run("r") == run._replace(state="waiting", wake_at=NOW + 7, current='["timer"]', owner=None)

    async def test_all_kinds_in_one_unit(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r"), owned_run(worker.id, "other")
        await worker.write(other, a_message(other))
        event = an_event()
        await worker.write(
            run, a_fact(run, 1), event, ShowProgress(run.uid, None, "n"), a_message(other, "more"),
            TakeInbox(other.uid, "cancel"), EndRun(run.uid, "completed", "1", None, NOW),
            ReleaseRun(other.uid, "waiting", None, None),
        )  # fmt: skip
        assert (await the_run(store, "r")).state == "completed"
        assert (await the_run(store, "other")).state == "waiting"
        assert [row.id for row in await store.events(0, 10)] == [event.id]

    @pytest.mark.parametrize("rows", [1, 2, 3, 255, 256, 257, 1000])
    async def test_any_number_of_rows(self, store: Store, worker: Scribe, rows: int) -> None:
        runs = [owned_run(worker.id, f"r{number}") for number in range(rows)]
        units: list[list[Mutation]] = [[run, a_fact(run, 1), an_event(run.id)] for run in runs]
        await worker.units(*units)
        await worker.units(*([EnterState(run.uid, "compensating", None, None, "f2")] for run in runs))
        assert await store.counts() == {"compensating": rows}
        assert [row.data for row in await store.events(0, 2000)] == [f'"{run.id}"' for run in runs]
        histories = await store.histories([(run.uid, 1) for run in runs])
        assert all(len(histories[run.uid]) == 1 for run in runs)

    async def test_updates_of_one_run_in_one_batch_are_applied_in_order(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r"), owned_run(worker.id, "other")
        await worker.write(run, other)
        await worker.units(
            [ShowProgress(run.uid, "[1]", "first"), EnterState(run.uid, "compensating", '"1"', None, "f")],
            [ShowProgress(other.uid, "[9]", None)],
            [ShowProgress(run.uid, None, "second")],
            [EnterState(run.uid, "running", None, None, "f")],
            [EnterState(run.uid, "blocked", '"3"', "incident", "f3"), ShowProgress(run.uid, "[3]", None)],
        )
        assert await store.run("r") == run._replace(
            current="[3]", note="second", state="blocked", error='"3"', parked="incident", fingerprint="f3"
        )
        assert (await the_run(store, "other")).current == "[9]"

    async def test_a_record_that_can_never_be_stored_takes_its_batch_along(self, store: Store, worker: Scribe) -> None:
        good, bad = a_run("good"), a_run("bad", input="\ud800")
        with pytest.raises(StoreRejected):
            await worker.units([good, an_event()], [bad])
        assert await store.run("good") is None
        assert await store.events(0, 10) == []
        await worker.units([good])
        assert await store.run("good") == good, "the refusal has not moved the fence"

    async def test_an_empty_batch_is_a_heartbeat(self, store: Store, worker: Scribe) -> None:
        await worker.units()
        (row,) = await store.workers()
        assert row.batch == 1

    async def test_nobody_is_there_to_be_changed(self, store: Store, worker: Scribe) -> None:
        missing: Run = a_run()
        silent: list[Mutation] = [
            ShowProgress(missing.uid, "[]", "n"), a_message(missing), TakeInbox(missing.uid, "cancel")
        ]  # fmt: skip
        await worker.units(silent)
        assert await store.counts() == {}

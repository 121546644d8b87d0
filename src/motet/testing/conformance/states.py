"""States: what the transition table allows happens, what it forbids is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from motet.errors import StoreRejected
from motet.model.run import ENDED, STATES, Run, RunState, may_become
from motet.store.mutations import BeginGeneration, EndRun, EnterState, Mutation, ReleaseRun, ShowProgress
from motet.store.protocol import Store
from motet.testing.conformance.records import NOW, a_fact, a_run, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, the_run

_Change = Callable[[Run, RunState], Mutation]


class States(StoreSuite):
    """Every pair of states, by every mutation that changes them."""

    @pytest.mark.parametrize("before", STATES)
    async def test_entering(self, store: Store, worker: Scribe, before: RunState) -> None:
        await _try_all(store, worker, before, lambda run, after: EnterState(run.uid, after, '"e"', None, "f9"))

    @pytest.mark.parametrize("before", STATES)
    async def test_releasing(self, store: Store, worker: Scribe, before: RunState) -> None:
        await _try_all(store, worker, before, lambda run, after: ReleaseRun(run.uid, after, NOW, "[9]"))

    @pytest.mark.parametrize("before", STATES)
    async def test_ending(self, store: Store, worker: Scribe, before: RunState) -> None:
        for after in sorted(ENDED):
            run = _in_state(worker, before)
            await worker.write(run)
            end = EndRun(run.uid, after, "9", '"e"', NOW + 9)
            if may_become(before, after):
                await worker.write(end)
                ended = await the_run(store, run.id)
                assert (ended.state, ended.result, ended.ended_at, ended.owner) == (after, "9", NOW + 9, None)
            elif before == after:
                await worker.write(end)
                assert await the_run(store, run.id) == run, "an end that has been written stands as it is"
            else:
                await _refused(store, worker, run, end, after)

    async def test_a_refusal_takes_its_batch_along(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id, "r", state="waiting"), owned_run(worker.id, "other")
        await worker.write(run, other)
        with pytest.raises(StoreRejected, match="run 'r' is waiting and cannot become completed"):
            await worker.units([a_fact(other, 1)], [a_fact(run, 1), EndRun(run.uid, "completed", None, None, NOW)])
        assert await store.histories([(other.uid, 1)]) == {other.uid: []}
        await worker.write(a_fact(other, 1))

    @pytest.mark.parametrize("state", sorted(ENDED))
    async def test_nothing_happens_to_a_run_that_has_ended(self, store: Store, worker: Scribe, state: RunState) -> None:
        run = _in_state(worker, state)
        await worker.write(run)
        late: list[Mutation] = [
            EnterState(run.uid, "running", '"e"', None, "f9"),
            ReleaseRun(run.uid, "waiting", NOW, "[9]"),
            BeginGeneration(run.uid, 2, '"i"', NOW),
            ShowProgress(run.uid, "[9]", "n"),
        ]
        for mutation in late:
            await worker.write(mutation)
            assert await store.run(run.id) == run

    async def test_generations_only_grow(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r", generation=5)
        await worker.write(run)
        for generation in (5, 4, 1):
            await worker.write(BeginGeneration(run.uid, generation, '"old"', NOW))
        assert await store.run("r") == run
        await worker.write(BeginGeneration(run.uid, 6, '"new"', NOW))
        assert (await the_run(store, "r")).generation == 6


def _in_state(worker: Scribe, state: RunState) -> Run:
    if state in ENDED:
        return a_run(state=state, result="1", ended_at=NOW, wake_at=None)
    return owned_run(worker.id, state=state)


async def _try_all(store: Store, worker: Scribe, before: RunState, change: _Change) -> None:
    for after in STATES:
        run = _in_state(worker, before)
        await worker.write(run)
        if may_become(before, after):
            await worker.write(change(run, after))
            assert (await the_run(store, run.id)).state == after
        elif before == after or before in ENDED:
            await worker.write(change(run, after))
            assert await the_run(store, run.id) == run
        else:
            await _refused(store, worker, run, change(run, after), after)


async def _refused(store: Store, worker: Scribe, run: Run, change: Mutation, after: RunState) -> None:
    with pytest.raises(StoreRejected, match=f"run '{run.id}' is {run.state} and cannot become {after}"):
        await worker.write(change)
    assert await store.run(run.id) == run

"""Receipts: after a lost reply a batch is found or written again, and there is one copy of it in the end."""

from __future__ import annotations

from typing import Any

import pytest

from motet.errors import LeaseLost, StoreRejected
from motet.store.mutations import (
    KIND_NAMES,
    KINDS,
    AppendEvent,
    AppendOnce,
    BeginGeneration,
    DropDelivery,
    EndRun,
    EndWait,
    EnterState,
    KeepDelivery,
    KeepExpected,
    MissExpected,
    MoveCursor,
    Mutation,
    PutInbox,
    RecordFact,
    RegisterWait,
    ReleaseRun,
    RetireId,
    ShowProgress,
    StartRun,
    TakeInbox,
)
from motet.store.protocol import ExpectedFilter, Fence, RunFilter, Store
from motet.testing.conformance.expecting import a_miss, an_expected, kept
from motet.testing.conformance.records import NOW, a_delivery, a_fact, a_message, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, StoreSuite, a_ticket, the_run


class Receipts(StoreSuite):
    """What was written, and what is written again."""

    async def test_a_committed_batch_is_found(self, store: Store, worker: Scribe) -> None:
        await worker.units()
        assert await store.committed(Fence(worker.id, 1))
        assert not await store.committed(Fence(worker.id, 2))

    async def test_a_batch_that_was_committed_before_the_burial_is_found(self, store: Store, worker: Scribe) -> None:
        await worker.units()
        assert await store.bury(worker.id, 1)
        assert await store.committed(Fence(worker.id, 1))
        with pytest.raises(LeaseLost):
            await store.committed(Fence(worker.id, 2))

    async def test_nobody_has_receipts_of_an_unknown_worker(self, store: Store, worker: Scribe) -> None:
        with pytest.raises(LeaseLost):
            await store.committed(Fence(worker.id + 1, 1))

    @pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES.get)
    async def test_each_kind_under_the_same_ticket_is_written_once(
        self, store: Store, worker: Scribe, kind: type
    ) -> None:
        before, mutation = _example(kind, worker)
        await worker.follow("example")
        await worker.write(*before)
        ticket = a_ticket()
        await store.commit([[mutation]], ticket)
        once = await _picture(store, worker)
        await store.commit([[mutation]], ticket)
        assert await _picture(store, worker) == once

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not AppendEvent], ids=KIND_NAMES.get)
    async def test_each_kind_but_events_is_idempotent_by_itself(self, store: Store, worker: Scribe, kind: type) -> None:
        """Events have no unique key in the log: there, only receipts keep them from doubling."""
        before, mutation = _example(kind, worker)
        await worker.follow("example")
        await worker.write(*before)
        await worker.write(mutation)
        once = await _picture(store, worker)
        await worker.write(mutation)
        await worker.write(mutation, mutation)
        assert await _picture(store, worker) == once

    async def test_a_whole_life_written_twice_is_written_once(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id, "r")
        life: list[list[Mutation]] = [
            [run],
            [a_fact(run, 1), ShowProgress(run.uid, "[]", "n"), a_message(run)],
            [EnterState(run.uid, "compensating", '"e"', None, "f"), TakeInbox(run.uid, "cancel")],
            [EndRun(run.uid, "failed", None, '"e"', NOW)],
        ]
        await worker.units(*life)
        once = await _picture(store, worker)
        await worker.units(*life)
        assert await _picture(store, worker) == once
        assert (await the_run(store, "r")).state == "failed"

    async def test_a_message_that_was_taken_meanwhile_does_not_come_again(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run)
        ticket = a_ticket()
        await store.commit([[a_message(run, "retry:1")]], ticket)
        await worker.write(TakeInbox(run.uid, "retry:1"))
        await store.commit([[a_message(run, "retry:1")]], ticket)
        assert await store.inbox(worker.id) == []

    async def test_an_event_of_a_client_is_appended_once(self, store: Store) -> None:
        ticket, event = a_ticket(), an_event()
        for _ in range(3):
            await store.commit([[event]], ticket)
        assert [row.id for row in await store.events(0, 10)] == [event.id]

    async def test_other_tickets_are_other_batches(self, store: Store) -> None:
        event = an_event()
        await store.commit([[event]], a_ticket())
        await store.commit([[event]], a_ticket())
        assert len(await store.events(0, 10)) == 2, "what is the same is for the ticket to tell, not for the store"

    async def test_a_repeated_ticket_still_tells_who_lost(self, store: Store) -> None:
        winner, loser = a_run("r"), a_run("r")
        await store.commit([[winner]], a_ticket())
        ticket = a_ticket()
        first = await store.commit([[loser]], ticket)
        again = await store.commit([[loser]], ticket)
        assert first == again
        assert first.lost == {loser.uid: winner}

    async def test_a_refused_batch_uses_no_ticket(self, store: Store) -> None:
        ticket = a_ticket()
        with pytest.raises(StoreRejected):
            await store.commit([[a_run("bad", input="\udfff")]], ticket)
        await store.commit([[a_run("good")]], ticket)
        assert await store.run("good") is not None


def _example(kind: type, worker: Scribe) -> tuple[list[Mutation], Mutation]:
    """What must be there before, and one mutation of this kind that changes something."""
    run = owned_run(worker.id, "example")
    expected = an_expected(expectation="example")
    blocked = run._replace(state="failed", owner=None, ended_at=NOW)
    examples: dict[type, tuple[list[Mutation], Mutation]] = {
        StartRun: ([], run),
        RetireId: ([blocked], RetireId(run.uid, run.id)),
        RecordFact: ([run], a_fact(run, 1)),
        AppendEvent: ([], an_event()),
        AppendOnce: ([], AppendOnce(*an_event())),
        KeepExpected: ([], kept(expected)),
        MissExpected: ([kept(expected)], a_miss(expected)),
        MoveCursor: ([], MoveCursor("example", 1, 7, 3, 1, 0, NOW + 6)),
        KeepDelivery: ([], KeepDelivery(*a_delivery(), 1)),
        DropDelivery: ([KeepDelivery(*a_delivery(), 1)], DropDelivery("example", 3, 1)),
        RegisterWait: (
            [run, an_event("1")._replace(subject="k", type="t")],
            RegisterWait(run.uid, "1.t#1", "k", '{"t":[0]}'),
        ),
        EndWait: ([run, RegisterWait(run.uid, "1.t#1", "k", '{"t":[0]}')], EndWait(run.uid, "1.t#1")),
        ShowProgress: ([run], ShowProgress(run.uid, "[1]", "n")),
        EnterState: ([run], EnterState(run.uid, "compensating", '"e"', None, "f9")),
        BeginGeneration: ([run], BeginGeneration(run.uid, 2, '"i"', NOW + 3)),
        PutInbox: ([run], a_message(run)),
        TakeInbox: ([run, a_message(run)], TakeInbox(run.uid, "cancel")),
        EndRun: ([run], EndRun(run.uid, "completed", "1", None, NOW + 4)),
        ReleaseRun: ([run], ReleaseRun(run.uid, "waiting", NOW + 5, "[2]")),
    }
    return examples[kind]


async def _picture(store: Store, worker: Scribe) -> list[Any]:
    """Everything that can be read."""
    runs = await store.runs(RunFilter(limit=1000))
    histories = await store.histories([(run.uid, run.generation) for run in runs])
    return [
        runs,
        histories,
        await store.inbox(worker.id),
        await store.events(0, 1000),
        await store.cursors(),
        await store.expected(ExpectedFilter()),
        await store.under_way("example"),
    ]

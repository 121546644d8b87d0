"""Runs that wait for events: told by their inbox of the earliest that they have not consumed, whichever came first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import msgspec

from motet.model.event import EventRow, LoggedEvent
from motet.model.run import Run
from motet.store.mutations import (
    AppendOnce,
    AwaitedEvent,
    BeginGeneration,
    EndRun,
    EndWait,
    PutInbox,
    RegisterWait,
    ReleaseRun,
    TakeInbox,
)  # fmt: skip
from motet.store.protocol import Store
from motet.testing.conformance.records import NOW, an_event, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, a_ticket

_awaited = msgspec.json.Decoder(AwaitedEvent)
_row = msgspec.json.Decoder(LoggedEvent)


def a_wait(
    run: Run, op: str = "1.paid#1", key: str = "k", consumed: Mapping[str, Sequence[int]] | None = None
) -> RegisterWait:
    """For events of the type `paid` unless told otherwise."""
    return RegisterWait(run.uid, op, key, json.dumps(consumed if consumed is not None else {"paid": [0]}))


def paid(data: str = "1", key: str | None = "k", **changes: object) -> EventRow:
    """An event of the type that is waited for."""
    return an_event(data, type="paid", subject=key)._replace(**changes)  # type: ignore[arg-type]


class Waiting(StoreSuite):
    """No wait takes an event twice, and none misses one."""

    async def told(self, scribe: Scribe) -> list[tuple[str, LoggedEvent]]:
        """Of which events its runs are told: for which operation, and the log's row."""
        found = [_awaited.decode(message.payload or "") for message in await self.messages(scribe)]
        return [(told.op, _row.decode(told.row)) for told in found]

    async def messages(self, scribe: Scribe) -> list[PutInbox]:
        """What its runs are told of events."""
        return [message for message in await scribe.store.inbox(scribe.id) if message.kind == "event"]

    async def test_an_event_that_comes_later(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, a_wait(run))
        assert await self.told(worker) == []
        await store.commit([[paid("other", "another")], [paid("this")], [paid("next")]], a_ticket())
        log = await store.events(0, 10)
        assert await self.told(worker) == [("1.paid#1", log[1])], "whole, and one for each wait"

    async def test_an_event_that_was_there_before_it(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await store.commit([[paid("before the run")]], a_ticket())
        await worker.write(run)
        await store.commit([[an_event(type="sent", subject="k")], [paid("this")], [paid("next")]], a_ticket())
        await worker.write(a_wait(run))
        (told,) = await self.told(worker)
        assert told[1].data == '"this"'

    async def test_what_was_published_by_the_drain_that_waits_is_there(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run)
        await worker.write(paid(), a_wait(run))
        assert len(await self.told(worker)) == 1

    async def test_what_was_consumed_does_not_come_again(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, *(paid(f"{n}") for n in range(4)))
        log = await store.events(0, 10)
        up_to, single = log[0].position, log[2].position
        await worker.write(a_wait(run, "1.paid#3", consumed={"paid": [up_to, single]}))
        assert await self.told(worker) == [("1.paid#3", log[1])]
        await worker.write(a_wait(run, "1.paid#4", consumed={"paid": [log[1].position, single]}))
        assert (await self.told(worker))[1] == ("1.paid#4", log[3])

    async def test_the_first_of_several_types(self, store: Store, worker: Scribe) -> None:
        run, other = owned_run(worker.id), owned_run(worker.id)
        await worker.write(run, other, a_wait(run, "1.a|b#1", consumed={"a": [0], "b": [0]}))
        await store.commit([[paid(type="b", data='"b"')], [paid(type="a", data='"a"')]], a_ticket())
        await worker.write(a_wait(other, "1.a|b#1", consumed={"a": [0], "b": [0]}))
        assert [row.type for _, row in await self.told(worker)] == ["b", "b"], "and for each only one"

    async def test_another_wait_for_the_same_type_fills_the_gap_before_the_first(
        self, store: Store, worker: Scribe
    ) -> None:
        """Whoever began first waits last: the event that is for it came before anybody waited for the type."""
        early = owned_run(worker.id)
        await worker.write(early)
        await store.commit([[paid("early", "e")]], a_ticket())
        late = owned_run(worker.id)
        await worker.write(late)
        await worker.write(a_wait(late, key="l"))
        await store.commit([[paid("late", "l")]], a_ticket())
        await worker.write(a_wait(early, key="e"))
        assert sorted(row.data for _, row in await self.told(worker)) == ['"early"', '"late"']

    async def test_one_for_a_single_run_is_found_by_its_id_too(self, store: Store, worker: Scribe) -> None:
        mine, other = owned_run(worker.id, "mine"), owned_run(worker.id, "other")
        await worker.write(mine, other, a_wait(mine, key="mine"), a_wait(other, key="k"))
        await store.commit([[paid("for mine", "k", recipient="mine")]], a_ticket())
        (told,) = await self.messages(worker)
        assert told.uid == mine.uid
        await worker.write(a_wait(other, "1.paid#2", key="k"), a_wait(mine, "1.paid#2", key="k"))
        assert {message.uid for message in await self.messages(worker)} == {mine.uid}, "also when it was there before"

    async def test_a_wait_that_has_ended_hears_nothing(self, store: Store, worker: Scribe) -> None:
        runs = [owned_run(worker.id) for _ in range(4)]
        given_up, over, anew, waiting = runs
        await worker.write(*runs, *(a_wait(run) for run in runs))
        await worker.write(
            EndWait(given_up.uid, "1.paid#1"), EndRun(over.uid, "completed", None, None, NOW),
            BeginGeneration(anew.uid, 2, None, NOW),
        )  # fmt: skip
        await store.commit([[paid()]], a_ticket())
        assert [message.uid for message in await self.messages(worker)] == [waiting.uid]

    async def test_who_registers_again_looks_again(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, a_wait(run))
        await store.commit([[paid("one")], [paid("two")]], a_ticket())
        (message,) = await self.messages(worker)
        (told,) = await self.told(worker)
        await worker.write(TakeInbox(run.uid, message.key), a_wait(run, consumed={"paid": [told[1].position]}))
        assert [row.data for _, row in await self.told(worker)] == ['"two"']

    async def test_written_twice_it_is_told_once(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, paid())
        await worker.write(a_wait(run), a_wait(run))
        await worker.write(a_wait(run))
        assert len(await self.told(worker)) == 1

    async def test_an_id_from_outside_is_heard_once(self, store: Store, worker: Scribe) -> None:
        run = owned_run(worker.id)
        await worker.write(run, a_wait(run))
        event = AppendOnce(*paid())
        await store.commit([[event]], a_ticket())
        await worker.write(EndWait(run.uid, "1.paid#1"), a_wait(run, "1.paid#2", consumed={"paid": [10_000]}))
        await store.commit([[event]], a_ticket())
        assert [op for op, _ in await self.told(worker)] == ["1.paid#1"]

    async def test_a_run_that_nobody_drives_wakes_up(self, store: Store, worker: Scribe) -> None:
        """Its inbox is what makes it due."""
        run = owned_run(worker.id, "r")
        await worker.write(run, a_wait(run), ReleaseRun(run.uid, "waiting", None, None))
        other = await Scribe.register(store)
        assert await other.claim() == []
        await store.commit([[paid("another's", "another")], [paid("its")]], a_ticket())
        assert await other.claim() == ["r"]
        assert [row.data for _, row in await self.told(other)] == ['"its"']

    async def test_waits_and_events_that_race_always_find_each_other(self, stores: Stores, store: Store) -> None:
        """Each run is waited for and published to at the same moment, from several handles."""
        waiter = await Scribe.register(await stores.open())
        publishers = [await stores.open() for _ in range(3)]
        runs = [owned_run(waiter.id) for _ in range(60)]
        await waiter.units(*([run] for run in runs))

        async def wait(run: Run) -> None:
            await waiter.write(a_wait(run, f"1.type-{run.id}#1", run.id, {f"type-{run.id}": [0]}))

        async def publish(number: int, run: Run) -> None:
            await publishers[number % 3].commit([[paid(key=run.id, type=f"type-{run.id}")]], a_ticket())

        for number, run in enumerate(runs):  # each pair begins together, now the one first and now the other
            pair = [wait(run), publish(number, run)]
            await asyncio.gather(*(pair if number % 2 else reversed(pair)))
        assert {message.uid for message in await self.messages(waiter)} == {run.uid for run in runs}

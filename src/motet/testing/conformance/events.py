"""The event log: in the order of commits, with no gap that a reader could miss, its recorded time never backwards."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from motet.model.clock import SECOND
from motet.model.event import Heading, LoggedEvent
from motet.store.mutations import AppendOnce
from motet.store.protocol import Store, Traffic
from motet.testing.conformance.records import NOW, a_run, an_event, owned_run
from motet.testing.conformance.setting import Scribe, Stores, StoreSuite, a_ticket


class Events(StoreSuite):
    """What reactions will read."""

    async def test_an_event_comes_back_as_written(self, store: Store, worker: Scribe) -> None:
        full, bare = an_event(), an_event(subject=None, causationid=None)
        await worker.write(full, bare)
        first, second = await store.events(0, 10)
        assert (first[1:], second[1:]) == (full, bare)

    async def test_so_does_what_it_carries_beside_its_data(self, store: Store, worker: Scribe) -> None:
        event = an_event(version=3, recipient="run-7", traceparent="00-aa-bb-01")
        await worker.write(event)
        (row,) = await store.events(0, 10)
        assert row[1:] == event

    async def test_an_id_from_outside_counts_once(self, store: Store, worker: Scribe) -> None:
        first = AppendOnce(*an_event("webhook"))
        await store.commit([[first]], a_ticket())
        await store.commit([[first._replace(data='"again"')], [AppendOnce(*an_event("other"))]], a_ticket())
        assert [row.data for row in await store.events(0, 10)] == ['"webhook"', '"other"']
        await worker.write(first, first)
        assert len(await store.events(0, 10)) == 2

    async def test_an_id_from_outside_is_forgotten_after_a_week(self, store: Store) -> None:
        first = AppendOnce(*an_event("webhook"))
        await store.commit([[first]], a_ticket())
        later = NOW + 8 * 24 * 3600 * SECOND
        await store.commit([[AppendOnce(*an_event("later", recorded_at=later))]], a_ticket())
        await store.commit([[first._replace(recorded_at=later)]], a_ticket())
        assert len(await store.events(0, 10)) == 3

    async def test_what_came_of_what_is_counted(self, store: Store, worker: Scribe) -> None:
        old = an_event(type="paid", source="web", id="e-0", causationid=None)
        paid = [an_event(type="paid", source="web", id=f"e-{n}", causationid=None) for n in (1, 2)]
        sent = [an_event(type="sent", source="mail", causationid=f"e-{n}") for n in (1, 2, 2, 0)]
        await worker.write(old, *paid, *sent)
        await worker.write(a_run(workflow="shop/buy", cause="e-1"), a_run(cause="e-9"))
        everything = await store.traffic(100)
        assert everything == Traffic(
            [("paid", "web", 3), ("sent", "mail", 4)], [("paid", "sent", "mail", 4)], [("paid", "shop/buy", 1)]
        )
        assert await store.traffic(6) == Traffic(
            [("paid", "web", 2), ("sent", "mail", 4)], [("paid", "sent", "mail", 3)], [("paid", "shop/buy", 1)]
        )
        assert await store.traffic(0) == Traffic([], [], [])

    async def test_they_are_found_by_their_conversation(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(f"{n}", correlationid=f"talk-{n % 2}") for n in range(6)))
        found = await store.events_of("talk-1", 0, 10)
        assert [row.data for row in found] == ['"1"', '"3"', '"5"']
        assert await store.events_of("talk-1", found[0].position, 1) == found[1:2]
        assert await store.events_of("nobody", 0, 10) == []

    async def test_they_are_found_by_their_places(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event() for _ in range(6)))
        log = await store.events(0, 10)
        assert await store.events_at([log[4].position, log[1].position, 999]) == [log[1], log[4]]
        assert await store.events_at([]) == []

    async def test_who_wants_no_data_gets_the_headings_of_some_types(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(type=f"type-{n % 3}", subject=None if n < 3 else f"k{n}") for n in range(12)))
        log = await store.events(0, 20)
        wanted = [event for event in log[2:9] if event.type != "type-1"]
        found = await store.headings(["type-0", "type-2", "none"], log[1].position, log[8].position)
        assert found == [
            Heading(row.position, row.id, row.type, row.subject, row.time, row.correlationid) for row in wanted
        ]

    async def test_the_order_is_that_of_units_and_batches(self, store: Store, worker: Scribe) -> None:
        events = [an_event(f"e{n}") for n in range(12)]
        run = owned_run(worker.id)
        await worker.units([run, events[0], events[1]], [events[2]])
        await store.commit([[events[3]]], a_ticket())
        await worker.units(*([event] for event in events[4:]))
        log = await store.events(0, 100)
        assert [row.id for row in log] == [event.id for event in events]
        assert all(one.position < other.position for one, other in pairwise(log))

    async def test_reading_goes_on_behind_a_position(self, store: Store, worker: Scribe) -> None:
        await worker.write(*(an_event(f"e{n}") for n in range(10)))
        read: list[LoggedEvent] = []
        while page := await store.events(read[-1].position if read else 0, 3):
            assert len(page) <= 3
            read += page
        assert [row.data for row in read] == [f'"e{n}"' for n in range(10)]

    async def test_recorded_time_never_runs_backwards(self, store: Store, worker: Scribe) -> None:
        times = [NOW + 5, NOW + 3, NOW + 9, NOW + 8]
        await worker.units(*([an_event(recorded_at=at, time=at)] for at in times[:2]))
        await worker.units(*([an_event(recorded_at=at, time=at)] for at in times[2:]))
        log = await store.events(0, 10)
        assert [row.recorded_at for row in log] == [NOW + 5, NOW + 5, NOW + 9, NOW + 9]
        assert [row.time for row in log] == times, "an event's own time is its own"

    async def test_no_gap_is_filled_behind_a_reader(self, stores: Stores, store: Store) -> None:
        writers = [await Scribe.register(await stores.open()) for _ in range(3)]

        async def write(scribe: Scribe) -> None:
            for _ in range(40):
                await scribe.write(an_event(), an_event())

        writing = asyncio.gather(*(write(scribe) for scribe in writers))
        seen: list[LoggedEvent] = []
        while not writing.done() or await store.events(seen[-1].position if seen else 0, 1):
            seen += await store.events(seen[-1].position if seen else 0, 100)
        await writing
        assert seen == await store.events(0, 1000)
        assert len(seen) == 240

"""Finding events by what they are about, and places in the log."""

from __future__ import annotations

from typing import Any

import pytest

from motet.store.protocol import EventFilter, Store, Subscription
from motet.testing.conformance.records import NOW, an_event
from motet.testing.conformance.setting import Scribe, StoreSuite


class Finding(StoreSuite):
    """The log for people."""

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, [1, 2, 3, 4, 5, 6]),
            ({"limit": 2}, [5, 6]),
            ({"after": 0, "limit": 2}, [1, 2]),
            ({"after": 2, "until": 4}, [3, 4]),
            ({"until": 3, "limit": 1}, [3]),
            ({"types": ("a.b",)}, [1, 5]),
            ({"types": ("a.*",)}, [1, 2, 5]),
            ({"types": ("A.*",)}, []),
            ({"types": ("*",)}, [1, 2, 3, 5, 6]),
            ({"types": ("motet.*",)}, [4]),
            ({"types": ("motet.run.*", "a.b")}, [1, 4, 5]),
            ({"types": ("*.lost",)}, []),
            ({"types": ("a[b]?*",)}, [3]),
            ({"types": ("a.b",), "addressed": False}, [1]),
            ({"key": "k2"}, [2, 4]),
            ({"conversation": "t1", "types": ("a.*",)}, [1, 5]),
            ({"source": "campus"}, [6]),
            ({"conversation": "t1", "after": 1, "limit": 1}, [4]),
        ],
    )
    async def test_by_everything(
        self, store: Store, worker: Scribe, wanted: dict[str, Any], expected: list[int]
    ) -> None:
        await worker.write(
            an_event(type="a.b", subject="k1", correlationid="t1"),
            an_event(type="a.c", subject="k2", correlationid="t2"),
            an_event(type="a[b]?.d", subject=None, correlationid="t2"),
            an_event(type="motet.run.lost", subject="k2", correlationid="t1", source="motet"),
            an_event(type="a.b", subject="k3", correlationid="t1", recipient="run-1"),
            an_event(type="z", subject="k3", correlationid="t3", source="campus"),
        )
        filter = EventFilter(**wanted)
        found = await store.events_found(filter)
        assert [event.position for event in found] == expected
        if "limit" not in wanted:
            assert await store.events_counted(filter) == len(expected)
            assert await store.events_counted(filter._replace(limit=1)) == len(expected)

    async def test_an_event_is_found_whole(self, store: Store, worker: Scribe) -> None:
        await worker.write(an_event())
        assert await store.events_found(EventFilter()) == await store.events(0, 10)

    async def test_a_place_is_where_a_reader_would_begin(self, store: Store, worker: Scribe) -> None:
        for n in range(4):
            await worker.write(an_event(recorded_at=NOW + n // 2 * 10))
        later = NOW + 1_000
        for start in ("now", "beginning", NOW, NOW + 10, NOW + 11):
            await store.subscribe([Subscription("r", "reaction", "{}", start)], later)
            (cursor,) = await store.cursors()
            assert await store.place_of(start) == cursor.position
            await store.forget_reaction("r")

    async def test_since_when_something_is_behind_a_position(self, store: Store, worker: Scribe) -> None:
        await worker.write(an_event(recorded_at=NOW + 5), an_event(recorded_at=NOW + 6))
        assert await store.recorded_behind([1, 0, 2, 0]) == {0: NOW + 5, 1: NOW + 6}
        assert await store.recorded_behind([]) == {}

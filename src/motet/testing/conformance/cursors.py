"""Cursors: who reads the log how far, one owner at a time, never back by themselves."""

from __future__ import annotations

import pytest

from motet.errors import LeaseLost
from motet.store.mutations import MoveCursor
from motet.store.protocol import CursorRow, Store, Subscription
from motet.testing.conformance.records import NOW, an_event
from motet.testing.conformance.setting import Scribe, StoreSuite


def a_move(cursor: CursorRow, position: int, **changes: int) -> MoveCursor:
    """Its owner has come so far."""
    move = MoveCursor(cursor.name, cursor.epoch, position, position, 2, 0, NOW + position)
    return move._replace(**changes)  # type: ignore[arg-type]


async def the_cursor(store: Store, name: str) -> CursorRow:
    """The one of this name."""
    (found,) = [cursor for cursor in await store.cursors() if cursor.name == name]
    return found


class Cursors(StoreSuite):
    """What reactions and expectations read the log with."""

    async def test_a_new_one_begins_where_it_is_told_to(self, store: Store, worker: Scribe) -> None:
        for n in range(6):
            await worker.write(an_event(recorded_at=NOW + n // 2 * 10))  # two at each moment
        later = NOW + 10_000
        await store.subscribe(
            [
                Subscription("now", "reaction", "{}"),
                Subscription("beginning", "reaction", "{}", "beginning"),
                Subscription("at", "expectation", "{}", NOW + 10),
                Subscription("between", "reaction", "{}", NOW + 11),
                Subscription("before all", "reaction", "{}", NOW - 1),
                Subscription("after all", "reaction", "{}", later),
            ],
            later,
        )
        log = await store.events(0, 10)
        found = {
            cursor.name: sum(event.position > cursor.position for event in log) for cursor in await store.cursors()
        }
        assert found == {"now": 0, "beginning": 6, "at": 4, "between": 2, "before all": 6, "after all": 0}
        assert (await the_cursor(store, "at")).kind == "expectation"

    async def test_one_that_is_there_stays_where_it_is(self, store: Store, worker: Scribe) -> None:
        await worker.write(an_event(), an_event())
        (cursor,) = await worker.follow("r")
        await worker.write(a_move(cursor, 1))
        await store.subscribe([Subscription("r", "reaction", '{"new":1}', "now")], NOW + 5)
        found = await the_cursor(store, "r")
        assert (found.position, found.definition, found.owner) == (1, '{"new":1}', worker.id)

    async def test_a_renamed_one_keeps_its_place_and_loses_its_owner(self, store: Store, worker: Scribe) -> None:
        await worker.write(an_event(), an_event())
        (cursor,) = await worker.follow("old")
        await worker.write(a_move(cursor, 1))
        await store.subscribe([Subscription("new", "reaction", "{}", "now", ("older", "old"))], NOW)
        (found,) = await store.cursors()
        assert (found.name, found.position, found.owner) == ("new", 1, None)
        await worker.write(a_move(cursor, 2))
        (renamed,) = await worker.follow("new")
        await worker.write(a_move(cursor._replace(name="new"), 2))
        assert (await the_cursor(store, "new")).position == 1, "the former owner moves nothing"
        await worker.write(a_move(renamed, 2))
        assert (await the_cursor(store, "new")).position == 2

    async def test_code_from_before_a_renaming_begins_anew_beside_it(self, store: Store, worker: Scribe) -> None:
        """It cannot know of the new name; so the old one is there again, until somebody forgets it."""
        await worker.write(an_event(), an_event())
        (cursor,) = await worker.follow("old")
        await worker.write(a_move(cursor, 1))
        await store.subscribe([Subscription("new", "reaction", "{}", "now", ("old",))], NOW)
        await store.subscribe([Subscription("old", "reaction", "{}", "now")], NOW)
        await store.subscribe([Subscription("new", "reaction", "{}", "now", ("old",))], NOW)
        assert [(one.name, one.position) for one in await store.cursors()] == [("new", 1), ("old", 2)]
        assert await store.forget_reaction("old")
        assert [one.name for one in await store.cursors()] == ["new"]

    async def test_one_owner_at_a_time(self, store: Store, worker: Scribe) -> None:
        other = await Scribe.register(store)
        (mine,) = await worker.follow("r")
        assert await other.follow("r") == []
        assert mine.epoch == 1
        await store.resign(worker.id)
        (theirs,) = await other.follow("r")
        assert (theirs.owner, theirs.epoch, theirs.crashes) == (other.id, 2, 0)

    async def test_a_dead_owner_loses_it_and_is_counted(self, store: Store, worker: Scribe) -> None:
        await worker.follow("r")
        assert await store.bury(worker.id, 0)
        other = await Scribe.register(store)
        (theirs,) = await other.follow("r")
        assert (theirs.owner, theirs.crashes) == (other.id, 1)
        with pytest.raises(LeaseLost):
            await store.claim_cursors(worker.id, ["r"])

    async def test_only_those_that_are_asked_for(self, store: Store, worker: Scribe) -> None:
        await worker.follow("a")
        await store.subscribe([Subscription("b", "reaction", "{}"), Subscription("c", "reaction", "{}")], NOW)
        assert [cursor.name for cursor in await store.claim_cursors(worker.id, ["a", "c", "nothing"])] == ["c"]

    async def test_a_move_never_leads_back(self, store: Store, worker: Scribe) -> None:
        (cursor,) = await worker.follow("r")
        await worker.write(a_move(cursor, 5))
        await worker.write(a_move(cursor, 3))
        found = await the_cursor(store, "r")
        assert (found.position, found.delivered, found.failed) == (5, 5, 2)

    async def test_many_moves_in_a_batch_are_one(self, store: Store, worker: Scribe) -> None:
        first, second = await worker.follow("a", "b")
        await worker.units(*([a_move(first, n)] for n in range(1, 40)), [a_move(second, 7)])
        assert [(cursor.position, cursor.moved_at) for cursor in await store.cursors()] == [
            (39, NOW + 39), (7, NOW + 7)
        ]  # fmt: skip

    async def test_of_another_epoch_it_moves_nothing(self, store: Store, worker: Scribe) -> None:
        (cursor,) = await worker.follow("r")
        await worker.write(a_move(cursor._replace(epoch=cursor.epoch + 1), 5))
        assert (await the_cursor(store, "r")).position == 0

    async def test_the_head_is_the_last_events_position(self, store: Store, worker: Scribe) -> None:
        assert await store.head() == 0
        await worker.write(an_event(), an_event())
        assert await store.head() == (await store.events(0, 10))[-1].position

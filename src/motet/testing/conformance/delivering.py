"""Deliveries that are not simply in order: kept by the reaction's owner alone, changed by people in whole units."""

from __future__ import annotations

from typing import Any

import pytest

from motet.errors import LeaseLost, StoreError, StoreRejected
from motet.model.delivery import DeliveryRow
from motet.store.mutations import AppendEvent, DropDelivery, KeepDelivery
from motet.store.protocol import CursorRow, DeliveryFence, DeliveryFilter, Store
from motet.testing.conformance.cursors import a_move, the_cursor
from motet.testing.conformance.records import NOW, a_delivery, an_event
from motet.testing.conformance.setting import Scribe, StoreSuite

NAME = "shop/send"


def kept(position: int, cursor: CursorRow, **changes: Any) -> KeepDelivery:
    """As the reaction's owner writes it."""
    return KeepDelivery(*a_delivery(position, reaction=cursor.name, **changes), cursor.epoch)


def fence_of(cursor: CursorRow, owner: Scribe) -> DeliveryFence:
    """What the reaction's owner has."""
    return DeliveryFence(cursor.name, cursor.epoch, owner.id)


async def rows(store: Store, **wanted: Any) -> list[DeliveryRow]:
    """Of any state, unless it says which."""
    any_state = DeliveryFilter(("running", "retrying", "waiting", "parked", "held", "done"))
    return await store.deliveries(any_state._replace(**wanted))


async def positions(store: Store, **wanted: Any) -> list[int]:
    """Where they are in the log."""
    return [row.position for row in await rows(store, **wanted)]


class Deliveries(StoreSuite):
    """What is left behind, and what a person does about it."""

    @pytest.fixture
    async def cursor(self, worker: Scribe) -> CursorRow:
        """A reaction that the worker owns, behind which are four events."""
        await worker.write(*(an_event(f"e{n}", subject=f"k{n}", correlationid=f"t{n}", type=f"n.{n}") for n in "1234"))
        (cursor,) = await worker.follow(NAME)
        return cursor

    async def test_a_row_is_kept_as_it_is(self, store: Store, worker: Scribe, cursor: CursorRow) -> None:
        row = DeliveryRow(NAME, 3, "waiting", "k", 4, 5, NOW + 6, '"why"', '{"data":7}', NOW + 8)
        await worker.write(KeepDelivery(*row, cursor.epoch))
        assert await rows(store) == [row]
        bare = row._replace(key=None, due=None, error=None, data=None, state="running")
        await worker.write(KeepDelivery(*bare, cursor.epoch))
        assert await rows(store) == [bare]

    async def test_what_is_done_keeps_its_row_until_the_position_has_passed(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(kept(3, cursor), kept(1, cursor))
        await worker.write(DropDelivery(NAME, 3, cursor.epoch))
        assert [(row.position, row.state) for row in await rows(store)] == [(1, "retrying"), (3, "done")]
        await worker.write(a_move(cursor, 3))
        assert await positions(store) == [1]
        await worker.write(DropDelivery(NAME, 1, cursor.epoch))
        assert await rows(store) == []

    async def test_another_epoch_is_refused_with_its_unit(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(kept(1, cursor))
        stale = cursor._replace(epoch=cursor.epoch - 1)
        for mutation in (kept(2, stale), kept(1, stale, state="done"), DropDelivery(NAME, 1, stale.epoch)):
            with pytest.raises(StoreRejected, match="changed hands"):
                await worker.write(an_event(id="with it"), mutation)
        assert await positions(store, states=("retrying",)) == [1]
        assert await store.head() == 4

    async def test_what_is_done_ahead_is_forgotten_when_the_position_is_there(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(kept(2, cursor, state="done"), kept(4, cursor, state="done"), kept(1, cursor))
        assert await positions(store) == [1, 2, 4]
        await worker.write(a_move(cursor, 3))
        assert await positions(store) == [1, 4]
        assert [row.position for row in await store.under_way(NAME)] == [1, 4]

    async def test_dead_letters_are_no_longer_under_way_when_the_position_has_passed(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(kept(1, cursor, state="parked"), kept(2, cursor, state="held"), kept(3, cursor))
        assert [row.position for row in await store.under_way(NAME)] == [1, 2, 3]
        await worker.write(a_move(cursor, 4))
        assert [row.position for row in await store.under_way(NAME)] == [2, 3]
        assert await store.delivery_counts() == {NAME: {"parked": 1, "held": 1, "retrying": 1}}

    async def test_they_are_found_by_what_they_are_about(self, store: Store, worker: Scribe, cursor: CursorRow) -> None:
        (other,) = await worker.follow("campus/send")
        await worker.write(
            kept(1, cursor, state="parked", key="a"), kept(2, cursor, state="held", key="b"), kept(3, cursor, key="a"),
            kept(2, other, state="parked", key="a"),
        )  # fmt: skip
        everywhere = [("campus/send", 2), (NAME, 1), (NAME, 2)]
        assert [(row.reaction, row.position) for row in await store.deliveries(DeliveryFilter())] == everywhere
        assert await store.deliveries_counted(DeliveryFilter(limit=1)) == 3
        page = await store.deliveries(DeliveryFilter(limit=1, after=everywhere[0]))
        assert [(row.reaction, row.position) for row in page] == everywhere[1:2]
        found: list[tuple[dict[str, Any], list[int]]] = [
            ({"reaction": NAME}, [1, 2]), ({"reaction": "send"}, []), ({"key": "a"}, [2, 1]), ({"position": 2}, [2, 2]),
            ({"type": "n.1"}, [1]), ({"type": "n.*", "reaction": NAME}, [1, 2]), ({"conversation": "t1"}, [1]),
            ({"states": ("retrying",)}, [3]),
        ]  # fmt: skip
        for wanted, expected in found:
            assert [row.position for row in await store.deliveries(DeliveryFilter(**wanted))] == expected, wanted

    async def test_redriving_begins_anew_and_is_seen(self, store: Store, worker: Scribe, cursor: CursorRow) -> None:
        await worker.write(
            kept(1, cursor, state="parked", attempts=8, crashes=3), kept(2, cursor, state="held"),
            kept(3, cursor, state="waiting"),
        )  # fmt: skip
        assert await store.redrive(DeliveryFilter(position=3), NOW + 50) == 0
        assert await store.redrive(DeliveryFilter(states=("waiting", "parked")), NOW + 50) == 1
        (row,) = await rows(store, states=("retrying",))
        assert (row.position, row.attempts, row.crashes, row.due, row.error) == (1, 0, 0, NOW + 50, '"e"')
        assert (await the_cursor(store, NAME)).touched == cursor.touched + 1
        assert await store.redrive(DeliveryFilter(), NOW + 60) == 1
        assert await store.redrive(DeliveryFilter(), NOW + 60) == 0
        assert await positions(store, states=("waiting",)) == [3]

    async def test_discarding_takes_dead_letters_only(self, store: Store, worker: Scribe, cursor: CursorRow) -> None:
        await worker.write(*(kept(n, cursor, state=state) for n, state in enumerate(("parked", "held", "waiting"), 1)))
        assert await store.discard(DeliveryFilter(states=("waiting", "done"))) == 0
        assert await store.discard(DeliveryFilter(limit=1)) == 1
        assert (await the_cursor(store, NAME)).touched == cursor.touched + 1
        assert await store.discard(DeliveryFilter()) == 1
        assert await positions(store, states=("waiting",)) == [3]
        assert await store.deliveries_counted(DeliveryFilter()) == 0

    async def test_other_data_in_the_place_of_a_dead_letters_own(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(kept(1, cursor, state="parked"), kept(2, cursor))
        assert await store.edit_delivery(NAME, 1, '{"cured":1}')
        assert not await store.edit_delivery(NAME, 2, '{"cured":2}')
        assert not await store.edit_delivery("shop/other", 1, '{"cured":3}')
        assert [row.data for row in await rows(store)] == ['{"cured":1}', None]
        assert (await store.events(0, 1))[0].data == '"e1"'
        assert await store.edit_delivery(NAME, 1, None)
        assert [row.data for row in await rows(store)] == [None, None]

    async def test_pausing(self, store: Store, cursor: CursorRow) -> None:
        assert await store.pause(NAME, True)
        assert (await the_cursor(store, NAME)).paused
        assert (await the_cursor(store, NAME)).owner == cursor.owner
        assert await store.pause(NAME, False)
        assert not (await the_cursor(store, NAME)).paused
        assert not await store.pause("shop/other", True)

    async def test_a_replay_leads_back_and_takes_it_from_its_owner(
        self, store: Store, worker: Scribe, cursor: CursorRow
    ) -> None:
        await worker.write(
            a_move(cursor, 3), kept(1, cursor, state="parked"), kept(2, cursor, state="parked"),
            kept(4, cursor, state="done"),
        )  # fmt: skip
        assert await store.replay(NAME, 1)
        assert await positions(store) == [1]
        found = await the_cursor(store, NAME)
        assert (found.position, found.owner) == (1, None)
        await worker.write(a_move(cursor, 4))
        assert (await the_cursor(store, NAME)).position == 1, "its former owner moves nothing"
        with pytest.raises(StoreRejected):
            await worker.write(kept(2, cursor))
        (again,) = await worker.follow(NAME)
        assert again.epoch > cursor.epoch
        assert not await store.replay("shop/other", 0)

    async def test_forgetting(self, store: Store, worker: Scribe, cursor: CursorRow) -> None:
        (other,) = await worker.follow("shop/other")
        await worker.write(kept(1, cursor, state="parked"), kept(1, other, state="parked"))
        assert await store.forget_reaction(NAME)
        assert [one.name for one in await store.cursors()] == ["shop/other"]
        assert await store.delivery_counts() == {"shop/other": {"parked": 1}}
        assert not await store.forget_reaction(NAME)


class DeliveryTransactions(StoreSuite):
    """A delivery's own transaction."""

    @pytest.fixture
    async def mine(self, worker: Scribe) -> CursorRow:
        """A reaction that the worker owns."""
        (cursor,) = await worker.follow(NAME)
        return cursor

    async def test_what_is_given_to_it_is_committed(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        transaction = store.delivery_transaction(fence_of(mine, worker))
        assert await transaction.begin() is not None
        await transaction.commit([AppendEvent(*an_event("told")), kept(3, mine, state="done")])
        await transaction.roll_back()
        assert [event.data for event in await store.events(0, 9)] == ['"told"']
        assert await positions(store) == [3]
        await worker.write(an_event())

    async def test_what_is_rolled_back_never_was(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        transaction = store.delivery_transaction(fence_of(mine, worker))
        await transaction.begin()
        await transaction.roll_back()
        await transaction.roll_back()
        await worker.write(an_event())
        assert await store.head() == 1
        again = store.delivery_transaction(fence_of(mine, worker))
        await again.begin()
        await again.commit([kept(1, mine, state="done")])
        await again.roll_back()
        assert await positions(store) == [1]

    async def begins(self, store: Store, fence: DeliveryFence) -> bool:
        """Whether a transaction under this fence may begin."""
        transaction = store.delivery_transaction(fence)
        try:
            await transaction.begin()
        except LeaseLost:
            return False
        finally:
            await transaction.roll_back()
        return True

    async def test_whoever_does_not_own_it_does_not_begin(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        other = await Scribe.register(store)
        right = fence_of(mine, worker)
        for fence in (
            right._replace(epoch=mine.epoch + 1), right._replace(worker=other.id), right._replace(reaction="shop/other")
        ):  # fmt: skip
            assert not await self.begins(store, fence)
            with pytest.raises(LeaseLost):
                await store.delivery_state(fence, 1)
        assert await self.begins(store, right)
        await store.replay(NAME, 0)
        assert not await self.begins(store, right)
        await other.write(an_event())

    async def test_a_buried_owner_does_not_begin(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        assert await store.bury(worker.id, worker.batch)
        assert not await self.begins(store, fence_of(mine, worker))

    async def test_a_refused_record_takes_all_back(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        transaction = store.delivery_transaction(fence_of(mine, worker))
        await transaction.begin()
        with pytest.raises(StoreError):
            await transaction.commit([AppendEvent(*an_event()), kept(3, mine._replace(epoch=mine.epoch + 1))])
        await transaction.roll_back()
        assert await store.head() == 0
        await worker.write(an_event())

    async def test_the_receipt_is_the_row(self, store: Store, worker: Scribe, mine: CursorRow) -> None:
        fence = fence_of(mine, worker)
        assert await store.delivery_state(fence, 3) is None
        await worker.write(kept(3, mine, state="retrying"))
        assert await store.delivery_state(fence, 3) == "retrying"
        transaction = store.delivery_transaction(fence)
        await transaction.begin()
        await transaction.commit([DropDelivery(NAME, 3, mine.epoch)])
        await transaction.roll_back()
        assert await store.delivery_state(fence, 3) == "done"
        await worker.write(a_move(mine, 3))
        assert await store.delivery_state(fence, 3) is None, "the position has passed it"

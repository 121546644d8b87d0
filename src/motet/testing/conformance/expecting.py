"""What is expected after which events: kept by the cursor's owner alone, found by key, by time and by state."""

from __future__ import annotations

from typing import Any

import pytest

from motet.errors import StoreRejected
from motet.model.expected import Expected, ExpectedState
from motet.store.mutations import KeepExpected, MissExpected, MoveCursor
from motet.store.protocol import CursorRow, ExpectedFilter, Store, Subscription
from motet.testing.conformance.records import NOW, an_event
from motet.testing.conformance.setting import Scribe, StoreSuite

NAME = "shop/receipt"


def an_expected(key: str = "42", position: int = 7, **changes: Any) -> Expected:
    """An open one, each field different."""
    row = Expected(NAME, key, position, "open", f"trigger-{position}", "talk-1", NOW + position, None, 3, 2)
    return row._replace(**changes)


def kept(row: Expected, epoch: int = 1) -> KeepExpected:
    """As the cursor's owner in this epoch writes it."""
    return KeepExpected(*row, epoch)


def a_miss(row: Expected, **changes: Any) -> MissExpected:
    """Its time is over."""
    miss = MissExpected(row.expectation, row.key, row.position, row.armed_at + 5, NOW + 100)
    return miss._replace(**changes)


class Expecting(StoreSuite):
    """Who notices."""

    async def test_it_is_kept_as_it_is(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        row = an_expected()
        await worker.write(kept(row))
        assert await store.expected_for(NAME, ["42"], "all") == [row]
        met = row._replace(
            state="met", due=NOW + 9, triggers=4, early=1, came_at=NOW + 8, came="receipt-1", missed_at=NOW + 10
        )
        await worker.write(kept(met))
        assert await store.expected_for(NAME, ["42"], "all") == [met]

    async def test_the_last_of_a_batch_holds(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        row = an_expected()
        later = [row._replace(triggers=n) for n in range(1, 20)]
        await worker.units(*([kept(one)] for one in later))
        assert await store.expected_for(NAME, ["42"], "all") == [later[-1]]

    async def test_what_has_not_come_is_counted_by_itself(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        states: tuple[ExpectedState, ...] = ("open", "open", "missed", "met", "late", "early")
        await worker.write(*(kept(an_expected(f"k{n}", state=state)) for n, state in enumerate(states)))
        assert await store.not_come() == {NAME: {"open": 2, "missed": 1}}

    async def test_another_epoch_keeps_nothing(self, store: Store, worker: Scribe) -> None:
        await worker.write(kept(an_expected()))
        await _cursor(worker)
        await worker.write(kept(an_expected(), epoch=2), kept(an_expected(expectation="shop/other")))
        assert await store.expected(ExpectedFilter()) == []

    async def test_what_is_open_is_missed_once(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        row = an_expected()
        await worker.write(kept(row))
        await worker.write(a_miss(row))
        missed = row._replace(state="missed", due=row.armed_at + 5, missed_at=NOW + 100)
        assert await store.expected_for(NAME, ["42"], "all") == [missed]
        with pytest.raises(StoreRejected, match="is missed, not open"):
            await worker.write(a_miss(row, missed_at=NOW + 101), an_event("missed"))
        assert await store.expected_for(NAME, ["42"], "all") == [missed]
        assert await store.events(0, 10) == [], "the event that says so is one fact with it"

    @pytest.mark.parametrize("state", ["met", "late"])
    async def test_what_has_come_is_not_missed(self, store: Store, worker: Scribe, state: str) -> None:
        await _cursor(worker)
        row = an_expected(state=state)
        await worker.write(kept(row))
        with pytest.raises(StoreRejected, match=f"is {state}, not open"):
            await worker.write(a_miss(row), an_event("missed"))
        assert await store.events(0, 10) == []

    async def test_nor_is_what_is_not_there(self, store: Store, worker: Scribe) -> None:
        with pytest.raises(StoreRejected, match="is not there, not open"):
            await worker.write(a_miss(an_expected()))

    async def test_it_is_found_by_its_key(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        states = ("open", "missed", "met", "late")
        rows = [an_expected("one", n, state=state) for n, state in enumerate(states, 1)]
        alone = an_expected("one", 0, state="early")
        other, third = an_expected("two", 9), an_expected("three", 10)
        await worker.write(*map(kept, (*rows, alone, other, third)))
        assert sorted(await store.expected_for(NAME, ["one", "two"], "all")) == sorted([*rows, alone, other])
        assert sorted(await store.expected_for(NAME, ["one"], "unsettled")) == sorted([alone, *rows[:2]])
        assert await store.expected_for(NAME, ["one", "two"], "early") == [alone]
        assert await store.expected_for("shop/other", ["one"], "all") == []
        assert await store.expected_for(NAME, [], "all") == []

    async def test_what_is_open_comes_by_its_time(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        rows = [an_expected(f"k{n}", n, armed_at=NOW - n) for n in range(1, 6)]
        await worker.write(*map(kept, rows), kept(an_expected("met", 9, state="met", armed_at=NOW - 99)))
        assert await store.expected_open(NAME, 3) == rows[:1:-1]
        assert await store.expected_open("shop/other", 3) == []

    async def test_listing_goes_page_by_page(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        rows = [an_expected(f"k{n % 3}", n, armed_at=NOW + n // 4, conversation=f"talk-{n % 2}") for n in range(1, 13)]
        rows[3] = rows[3]._replace(state="missed")
        await worker.write(*map(kept, rows), kept(an_expected("alone", 0, state="early")))
        found: list[Expected] = []
        after = None
        while page := await store.expected(ExpectedFilter(limit=5, after=after)):
            found += page
            after = (page[-1].armed_at, page[-1].expectation, page[-1].key, page[-1].position)
        assert sorted(found) == sorted(rows)
        assert [row.armed_at for row in found] == sorted(row.armed_at for row in rows)
        assert await store.expected(ExpectedFilter(states=("missed",))) == [rows[3]]
        assert len(await store.expected(ExpectedFilter(states=("open", "missed")))) == 12
        assert len(await store.expected(ExpectedFilter(conversation="talk-1"))) == 6
        assert await store.expected(ExpectedFilter(expectation="shop/other")) == []

    async def test_counting(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        await _cursor(worker, "shop/other")
        await worker.write(
            kept(an_expected("a")), kept(an_expected("b")), kept(an_expected("c", state="late")),
            kept(an_expected("d", expectation="shop/other", state="missed")),
        )  # fmt: skip
        assert await store.expected_counts() == {NAME: {"open": 2, "late": 1}, "shop/other": {"missed": 1}}

    async def test_a_renamed_expectation_keeps_what_it_expects(self, store: Store, worker: Scribe) -> None:
        await _cursor(worker)
        row = an_expected()
        await worker.write(kept(row))
        await store.subscribe([Subscription("shop/new", "expectation", "{}", "now", (NAME,))], NOW)
        assert await store.expected_open("shop/new", 9) == [row._replace(expectation="shop/new")]
        await worker.write(kept(an_expected("late to hear of it")))
        assert await store.expected_for(NAME, ["late to hear of it"], "all") == [], "its former owner keeps nothing"
        with pytest.raises(StoreRejected, match="is not there"):
            await worker.write(a_miss(row))

    async def test_an_expectation_is_not_read_again_and_can_be_forgotten(self, store: Store, worker: Scribe) -> None:
        """To read its triggers again would count them twice."""
        await store.subscribe([Subscription(NAME, "expectation", "{}", "beginning")], NOW)
        (cursor,) = await store.claim_cursors(worker.id, [NAME])
        await worker.write(
            an_event(), kept(an_expected(), cursor.epoch), MoveCursor(NAME, cursor.epoch, 1, 1, 0, 0, NOW)
        )
        assert not await store.replay(NAME, 0)
        (there,) = await store.cursors()
        assert (there.position, there.owner) == (1, worker.id)
        assert await store.forget_reaction(NAME)
        assert await store.cursors() == []
        assert await store.expected(ExpectedFilter()) == []


async def _cursor(worker: Scribe, name: str = NAME) -> CursorRow:
    (cursor,) = await worker.follow(name)
    return cursor

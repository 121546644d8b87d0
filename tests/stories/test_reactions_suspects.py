"""Reactions whose owners have died: who is suspected of it, for how long, and who is not."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from motet import Event, Retry
from motet.drafting import Placing
from motet.runtime.reacting.reader import PAGE
from motet.runtime.reacting.service import Reacting
from motet.store.edges import CursorRow
from motet.store.protocol import DeliveryFilter, Ticket
from tests.stories.conftest import PATIENCE_SECONDS, Shop


class Suspected(Shop):
    """Takes numbers; one of them may hang until its gate is opened, another one may fail."""

    def __init__(self, folder: Path, *, hanging: int = 0, failing: int = 0) -> None:
        super().__init__(folder, drain_seconds=0.001)
        self.taken: list[int] = []
        self._news = asyncio.Event()

        @self.on("n", retry=Retry(attempts=3, first=0.2, jitter=0))
        async def take(event: Event) -> None:
            if event.data == hanging:
                await self.outside.wait_at("hanging")
            if event.data == failing:
                raise OSError("down")
            self.taken.append(event.data)
            self._news.set()

    def died(self, times: int) -> None:
        """As if its owners had died so often."""
        with closing(sqlite3.connect(self.path)) as store, store:
            store.execute("UPDATE cursor SET crashes = crashes + ?", (times,))

    async def cursor(self) -> CursorRow:
        (cursor,) = await self.client.store.cursors()
        return cursor

    async def until_acquitted(self) -> None:
        async def acquitted() -> bool:
            return (await self.cursor()).crashes == 0

        await self.until(acquitted)

    async def until_taken(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.taken) < count:
                self._news.clear()
                await self._news.wait()


async def test_one_that_was_idle_is_not_suspected_when_something_comes(tmp_path: Path) -> None:
    async with Suspected(tmp_path).worker():
        pass
    shop = Suspected(tmp_path, hanging=1)
    shop.died(5)
    async with shop.worker():
        await shop.until_acquitted()
        await shop.publish("n", 1)
        await shop.outside.reached("hanging")
        assert await shop.client.store.under_way("shop/take") == [], "it needs no row to begin"
    shop.died(1)
    heir = Suspected(tmp_path)
    async with heir.worker():
        await heir.until_taken(1)
        await heir.until_acquitted()
        assert await heir.client.store.delivery_counts() == {}, "its process died once: that is no reason to park it"


async def test_one_that_takes_its_time_before_it_kills_is_not_acquitted_meanwhile(tmp_path: Path) -> None:
    """Else its process would die over it for ever, each time for the first time."""
    async with Suspected(tmp_path).worker():
        pass
    shop = Suspected(tmp_path, hanging=1)
    async with shop.connect():
        await shop.publish("n", 1)
        await shop.publish("n", 2)
    shop.died(1)
    async with shop.worker():
        await shop.outside.reached("hanging")
        await shop.until_taken(1)
    async with shop.connect():
        assert (await shop.cursor()).crashes == 1


async def test_what_came_after_the_crash_is_not_suspected(tmp_path: Path) -> None:
    async with Suspected(tmp_path).worker() as first:
        await first.publish("n", 1)
    shop = Suspected(tmp_path, hanging=3)
    async with shop.connect():
        await shop.publish("n", 2)
    shop.died(2)
    async with shop.worker():
        await shop.until_acquitted()
        await shop.publish("n", 3)
        await shop.outside.reached("hanging")
        await asyncio.gather(*(shop.publish("n", number) for number in range(4, 20)))
        await shop.until_taken(17)
        assert await shop.client.store.under_way("shop/take") == [], "they need no rows, and do not go one by one"


async def test_a_killer_ahead_of_the_position_is_not_delivered_when_it_is_read(tmp_path: Path) -> None:
    async with Suspected(tmp_path).worker():
        pass
    heir = Suspected(tmp_path)
    async with heir.connect():
        await heir.publish("n", 1)
        await heir.publish("n", 2)
    heir.died(3)
    with closing(sqlite3.connect(heir.path)) as store, store:
        accused = "reaction, position, state, key, attempts, crashes, at"
        store.execute(f"INSERT INTO delivery ({accused}) VALUES ('shop/take', 2, 'running', 'k', 0, 2, 0)")
    async with heir.worker():
        await heir.until_acquitted()
        (letter,) = await heir.client.store.deliveries(DeliveryFilter())
        assert (letter.position, letter.state, heir.taken) == (2, "parked", [1])


async def test_a_suspect_behind_the_position_stays_one_until_it_has_ended(tmp_path: Path) -> None:
    first = Suspected(tmp_path)
    async with first.worker():
        pass
    async with first.connect():
        for number in (1, 2, 3):
            await first.publish("n", number)
    second = Suspected(tmp_path, hanging=1)
    second.died(2)
    async with second.worker():
        await second.outside.reached("hanging")
        (row,) = await second.client.store.under_way("shop/take")
        assert (row.state, row.crashes) == ("running", 2)
        await second.publish("n", 4)
        assert (await second.cursor()).crashes == 2, "it has not been acquitted while it runs"
    second.died(1)
    heir = Suspected(tmp_path)
    async with heir.worker():
        await heir.until_taken(3)
        await heir.until_acquitted()
        (letter,) = await heir.client.store.deliveries(DeliveryFilter())
        assert letter.error is not None and "ProcessKiller" in letter.error
        assert sorted(heir.taken) == [2, 3, 4]


async def test_what_comes_later_acquits_nothing_behind_the_position(tmp_path: Path) -> None:
    """Else one that kills its process would do so for ever, as long as others go well in between."""
    first = Suspected(tmp_path, failing=1)
    async with first.worker():
        await first.publish("n", 1)
        await first.publish("n", 2)

        async def is_left_behind() -> bool:
            rows = await first.client.store.under_way("shop/take")
            return [row.state for row in rows] == ["retrying"] and (await first.cursor()).position >= 2

        await first.until(is_left_behind)
    shop = Suspected(tmp_path, hanging=1)
    shop.died(1)
    async with shop.worker():
        await shop.outside.reached("hanging")
        await shop.publish("n", 3)

        async def has_moved() -> bool:
            return (await shop.cursor()).position >= 3

        await shop.until(has_moved)
        assert (await shop.cursor()).crashes == 1
        shop.outside.open("hanging")
        await shop.until_acquitted()


async def test_nothing_is_delivered_from_beyond_the_suspects_before_they_have_had_their_turn(tmp_path: Path) -> None:
    """One that kills, far beyond them, would do so again and again before it can be found out."""
    async with Suspected(tmp_path).worker():
        pass
    shop = Suspected(tmp_path, hanging=1)
    async with shop.connect():
        await shop.publish("n", 1)
        await shop.publish("n", 2)  # it waits for its turn
        events = [shop.client.drafts.event("other", None, None, Placing()) for _ in range(PAGE)]
        await shop.client.store.commit([[event] for event in events], Ticket("other"))
        await shop.publish("n", 3)
    shop.died(2)
    async with shop.worker() as app:
        await shop.outside.reached("hanging")
        worker = app.client.worker
        assert worker is not None
        (reacting,) = (part for part in worker.parts if isinstance(part, Reacting))
        (reader,) = reacting._readers.values()

        async def has_read() -> bool:
            return reader.window.read >= PAGE and not reader.reading

        await shop.until(has_read)
        assert reader.window.read == PAGE and shop.taken == []
        shop.outside.open("hanging")
        await shop.until_taken(3)
        await shop.until_acquitted()
    assert shop.taken == [1, 2, 3]

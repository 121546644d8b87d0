"""What an heir of a reaction finds: nothing that has been dealt with is done again, wherever its position stands."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from motet import Event, Retry
from motet.choreography.window import Delivery
from motet.runtime.reacting.recording import Recording
from motet.store.protocol import DeliveryFilter
from tests.stories.conftest import PATIENCE_SECONDS, Shop

QUICK = Retry(attempts=2, first=0.01, cap=0.01, jitter=0)
EAGER = {"drain_seconds": 0.001}


class Counting:
    """A reaction that holds its position at the first event, while the second has a row; and what it has taken."""

    def __init__(self, shop: Shop, take: Callable[[Event], None], *, slow: bool, retry: Retry = QUICK) -> None:
        self.taken: list[object] = []

        @shop.on("n", retry=retry, start="beginning", name="take")
        async def react(event: Event) -> None:
            if event.data == "slow" and slow:
                await asyncio.Event().wait()
            self.taken.append(event.data)
            take(event)


async def ended(shop: Shop) -> bool:
    """Whether the reaction has passed everything, with nothing left behind."""
    store = shop.client.store
    (cursor,) = await store.cursors()
    return cursor.position >= 2 and await store.under_way("shop/take") == []


async def published(shop: Shop) -> list[str]:
    return [row.type for row in await shop.client.store.events(0, 100)]


async def test_what_was_tried_again_ahead_of_the_position_is_not_done_anew(tmp_path: Path) -> None:
    first, failures = Shop(tmp_path, **EAGER), [OSError("once")]

    def publish(event: Event) -> None:
        if event.data == "quick":
            if failures:
                raise failures.pop()
            event.publish("done")

    Counting(first, publish, slow=True)
    async with first.worker():
        await first.publish("n", "slow")
        await first.publish("n", "quick")

        async def is_done() -> bool:
            return "done" in await published(first)

        await first.until(is_done)
        (cursor,) = await first.client.store.cursors()
        assert cursor.position == 0, "the first is still being delivered"
    heir = Shop(tmp_path)
    counting = Counting(heir, publish, slow=False)
    async with heir.worker():
        await heir.until(lambda: ended(heir))
        assert counting.taken == ["slow"]
        assert (await published(heir)).count("done") == 1
        assert await heir.client.store.delivery_counts() == {}


async def test_what_the_position_has_not_passed_comes_again_before_what_failed_after_it(tmp_path: Path) -> None:
    """Else who writes the newest state of a key somewhere would be left with an old one."""
    first, again = Shop(tmp_path, **EAGER), Retry(attempts=1_000, first=0.01, cap=0.01, jitter=0)

    def refuse(event: Event) -> None:
        if event.data == "newer":
            raise OSError("always")

    before = Counting(first, refuse, slow=True, retry=again)
    async with first.worker():
        await first.publish("n", "slow", key="another")
        await first.publish("n", "older", key="one")
        await first.publish("n", "newer", key="one")

        async def has_failed() -> bool:
            return bool(await first.client.store.under_way("shop/take"))

        await first.until(has_failed)
    assert before.taken[:2] == ["older", "newer"], "and that the older one is done is not recorded"
    heir = Shop(tmp_path)
    counting = Counting(heir, lambda _: None, slow=False, retry=again)
    async with heir.worker():
        await heir.until(lambda: ended(heir))
    assert [taken for taken in counting.taken if taken != "slow"] == ["older", "newer"]


async def test_what_was_discarded_ahead_of_the_position_does_not_come_back(tmp_path: Path) -> None:
    first = Shop(tmp_path, **EAGER)

    def refuse(event: Event) -> None:
        if event.data == "quick":
            raise OSError("always")

    Counting(first, refuse, slow=True)
    async with first.worker():
        await first.publish("n", "slow")
        await first.publish("n", "quick")

        async def is_parked() -> bool:
            return "motet.delivery.parked" in await published(first)

        await first.until(is_parked)
        assert await first.client.store.discard(DeliveryFilter()) == 1
    heir = Shop(tmp_path)
    counting = Counting(heir, refuse, slow=False)
    async with heir.worker():
        await heir.until(lambda: ended(heir))
        assert counting.taken == ["slow"]
        assert await heir.client.store.delivery_counts() == {}


async def test_what_ends_while_its_rows_are_read_is_not_taken_up_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person redrives others just then, so the reader reads its rows, as they were before the delivery ended."""
    taken: list[object] = []
    failing, ready = {"a": 1, "other": 2}, asyncio.Event()
    read, finished = asyncio.Event(), asyncio.Event()

    @shop.on("n", retry=Retry(attempts=2, first=0.01, cap=0.01, jitter=0))
    async def take(event: Event) -> None:
        failing[event.data] -= 1
        if failing[event.data] >= 0:
            raise OSError("down")
        if event.data == "a":
            ready.set()
            await read.wait()
        taken.append(event.data)
        event.publish(f"took.{event.data}")

    async with shop.worker():
        store = shop.client.store
        await shop.publish("n", "other")

        async def is_parked() -> bool:
            return "motet.delivery.parked" in await published(shop)

        await shop.until(is_parked)
        await shop.publish("n", "a")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ready.wait()
        under_way, finish = store.under_way, Recording.finish

        async def slowly(reaction: str) -> object:
            rows = await under_way(reaction)
            read.set()
            await finished.wait()
            return rows

        def told(self: Recording, delivery: Delivery) -> None:
            finish(self, delivery)
            finished.set()

        monkeypatch.setattr(type(store), "under_way", lambda self, reaction: slowly(reaction))
        monkeypatch.setattr(Recording, "finish", told)
        assert await store.redrive(DeliveryFilter(), shop.clock.now()) == 1

        async def both() -> bool:
            return "took.other" in await published(shop)

        await shop.until(both)
        monkeypatch.undo()
        await shop.until(lambda: ended(shop))
        assert sorted(map(str, taken)) == ["a", "other"]

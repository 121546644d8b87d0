"""What a handler with a transaction of its own may do, and what would wait for itself."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from motet import Event, Flow, Retry, testing
from motet.errors import WrongPlace
from motet.store.protocol import DeliveryFilter
from tests.stories.conftest import Shop

ONCE = Retry(attempts=1)

WAITING: list[tuple[str, Callable[[Shop], Awaitable[Any]]]] = [
    ("publish", lambda shop: shop.publish("booked")),
    ("publish", lambda shop: asyncio.to_thread(shop.sync.publish, "booked")),
    ("start", lambda shop: shop.start("ship", id="s1")),
    ("result", lambda shop: shop.result("s0")),
    ("cancel", lambda shop: shop.cancel("s0")),
    ("pause", lambda shop: shop.pause("book")),
    ("redrive", lambda shop: shop.redrive()),
]


@pytest.mark.parametrize(("verb", "act"), WAITING)
async def test_what_would_wait_for_its_own_transaction_is_refused_at_once(
    shop: Shop, verb: str, act: Callable[[Shop], Awaitable[Any]]
) -> None:
    told: list[str] = []

    @shop.workflow
    async def ship(flow: Flow) -> None:
        await flow.sleep(60)

    @shop.on("paid", transaction=True, retry=ONCE)
    async def book(event: Event, connection: sqlite3.Connection) -> None:
        with pytest.raises(WrongPlace) as caught:
            await act(shop)
        told.append(str(caught.value))

    async with testing.virtual(shop) as kit:
        await shop.start(ship, id="s0")
        await shop.publish("paid")
        await kit.idle()
        assert await shop.client.store.deliveries(DeliveryFilter()) == []
    assert [text.split(" which")[0] for text in told] == [f"app.{verb} in the handler of shop/book,"]


async def test_a_plain_handler_is_refused_too(shop: Shop) -> None:
    @shop.on("paid", transaction=True, retry=ONCE)
    def book(event: Event, connection: sqlite3.Connection) -> None:
        shop.sync.publish("booked")

    async with testing.virtual(shop) as kit:
        await shop.publish("paid")
        await kit.idle()
        (letter,) = await shop.dead_letters()
    assert "use event.publish, or give it conn=" in str(letter.error)


async def test_its_connection_takes_starts_and_events(shop: Shop) -> None:
    @shop.workflow
    async def ship(flow: Flow) -> str:
        return "shipped"

    @shop.on("paid", transaction=True)
    async def book(event: Event, connection: sqlite3.Connection) -> None:
        await shop.publish("booked", key=event.key, conn=connection)
        await shop.start(ship, id=f"ship-{event.key}", conn=connection)

    async with testing.virtual(shop) as kit:
        await shop.publish("paid", key="o1")
        await kit.idle()
        assert await shop.result("ship-o1") == "shipped"
        assert [row.type for row in await shop.client.store.events(0, 9)].count("booked") == 1


async def test_once_it_has_ended_nothing_is_refused(shop: Shop) -> None:
    """The next delivery runs in the same place."""

    @shop.on("paid", transaction=True)
    async def book(event: Event, connection: sqlite3.Connection) -> None:
        return

    @shop.on("paid")
    async def tell(event: Event) -> None:
        await shop.publish("told", key=event.key)

    async with testing.virtual(shop) as kit:
        await shop.publish("paid", key="o1")
        await kit.idle()
        assert "told" in [row.type for row in await shop.client.store.events(0, 9)]

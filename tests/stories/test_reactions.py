"""Reactions: each event to everybody who cares, in order per key, whatever fails; the publisher knows nothing of it."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from motet import Event, Flow, Retry, testing
from motet.model.clock import from_datetime
from motet.model.delivery import DEAD
from motet.store.protocol import DeliveryFilter
from tests.stories.conftest import Shop

QUICK = Retry(attempts=3, first=0.01, cap=0.01)


@dataclass
class Placed:
    id: str
    amount: int


async def test_each_event_reaches_every_matching_reaction(shop: Shop) -> None:
    seen: list[tuple[str, str, Any]] = []
    shop.event("order.placed", key="id")(Placed)

    @shop.on(Placed)
    async def receipt(event: Event[Placed]) -> None:
        seen.append(("receipt", event.type, event.data))

    @shop.on("order.*")
    def count(event: Event) -> None:
        seen.append(("count", event.type, event.data))

    async with testing.virtual(shop) as kit:
        await shop.publish(Placed("o1", 5))
        await shop.publish("order.shipped", {"n": 1}, key="o1")
        await shop.publish("parcel.shipped", {"n": 1}, key="o1")
        await kit.idle()
    assert sorted(seen, key=str) == sorted(
        [
            ("receipt", "order.placed", Placed("o1", 5)),
            ("count", "order.placed", Placed("o1", 5)),
            ("count", "order.shipped", {"n": 1}),
        ],
        key=str,
    )


async def test_what_fails_is_tried_again_in_order_of_its_key(shop: Shop) -> None:
    seen: list[str] = []
    failures = [OSError("down"), OSError("down")]

    @shop.on("n", retry=QUICK)
    async def take(event: Event) -> None:
        if event.data == 1 and failures:
            raise failures.pop()
        seen.append(f"{event.key}{event.data}")

    async with testing.virtual(shop) as kit:
        for number in range(1, 4):
            await shop.publish("n", number, key="a")
            await shop.publish("n", number + 5, key="b")
        await kit.idle()
        await kit.advance(1)
        assert [one for one in seen if one[0] == "b"] == ["b6", "b7", "b8"]
        assert [one for one in seen if one[0] == "a"] == ["a1", "a2", "a3"]
        assert {row.state for row in await shop.client.store.under_way("shop/take")} <= {"done"}


@pytest.mark.parametrize("hold", [False, True])
async def test_a_dead_letter_lets_its_key_go_on_or_holds_it(shop: Shop, hold: bool) -> None:
    seen: list[Any] = []
    told: list[Any] = []

    @shop.on("n", retry=QUICK, hold=hold)
    async def take(event: Event) -> None:
        if event.data == "poison":
            raise ValueError("cannot read it")
        seen.append(event.data)

    @shop.on("motet.delivery.parked")
    async def page(event: Event) -> None:
        told.append(event.data)

    async with testing.virtual(shop) as kit:
        await shop.publish("n", "poison", key="a")
        await shop.publish("n", "after", key="a")
        await kit.advance(5)
        assert seen == ([] if hold else ["after"])
        assert [(one["reaction"], one["attempts"], one["error"]["message"]) for one in told] == [
            ("shop/take", 3, "cannot read it")
        ]
        (letter,) = await shop.client.store.deliveries(DeliveryFilter())
        assert letter.state == ("held" if hold else "parked")
        await shop.client.store.edit_delivery("shop/take", letter.position, '"cured"')
        assert await shop.client.store.redrive(DeliveryFilter(), from_datetime(kit.now)) == 1
        await kit.advance(5)
        assert seen == (["cured", "after"] if hold else ["after", "cured"])


async def test_what_a_reaction_publishes_carries_cause_and_conversation(shop: Shop) -> None:
    @shop.on("order.placed")
    async def bill(event: Event) -> None:
        event.publish("order.billed", {"of": event.id})

    async with testing.virtual(shop) as kit:
        placed = await shop.publish("order.placed", {}, key="o1")
        await kit.idle()
        first, second = await shop.client.store.events(0, 10)
    assert (second.type, second.source, second.subject) == ("order.billed", "shop/bill", "o1")
    assert (second.causationid, second.correlationid) == (placed, "o1") == (first.id, first.correlationid)


async def test_a_transaction_commits_with_the_delivery(shop: Shop) -> None:
    tries: list[int] = []

    @shop.on("paid", transaction=True, retry=QUICK)
    def book(event: Event, connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS book (id TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO book VALUES (?)", (event.key,))
        event.publish("booked")
        tries.append(1)
        if len(tries) == 1:
            raise OSError("once")

    @shop.on("paid", transaction=True)
    async def count(event: Event, connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS counted (id TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO counted VALUES (?)", (event.key,))

    async with testing.virtual(shop) as kit:
        for name in "abc":
            await shop.publish("paid", key=name)
        await kit.idle()
        await kit.advance(5)
        connection = sqlite3.connect(shop.client.store.path)
        assert sorted(connection.execute("SELECT id FROM book")) == [("a",), ("b",), ("c",)]
        assert sorted(connection.execute("SELECT id FROM counted")) == [("a",), ("b",), ("c",)]
        connection.close()
        events = [row.type for row in await shop.client.store.events(0, 20)]
        assert events.count("booked") == 3
        rows = await shop.client.store.deliveries(DeliveryFilter(states=("running", "retrying", "waiting", *DEAD)))
        assert rows == []


async def test_a_workflow_that_an_event_starts_runs_once(shop: Shop) -> None:
    ran: list[Any] = []
    shop.event("order.placed", key="id")(Placed)

    @shop.step
    async def note(what: str) -> None:
        ran.append(what)

    @shop.workflow(on="order.placed", id=lambda event: f"ship-{event.key}")
    async def ship(flow: Flow, placed: Placed) -> None:
        await flow.step(note, f"ship {placed.id}")

    @shop.on("order.placed")
    async def thank(flow: Flow, event: Event[Placed]) -> None:
        await flow.step(note, f"thank {event.data.id} {event.key}")

    async with testing.virtual(shop) as kit:
        placed = await shop.publish(Placed("o1", 5))
        await shop.publish(Placed("o1", 5))
        await kit.idle()
        runs = {run.id: run for run in await shop.runs()}
        assert sorted(ran) == ["ship o1", "thank o1 o1", "thank o1 o1"]
        assert f"thank:{placed}" in runs and runs["ship-o1"].conversation == "o1"


async def test_an_id_that_another_workflows_run_has_makes_a_dead_letter(shop: Shop) -> None:
    @shop.workflow
    async def other(flow: Flow) -> None: ...

    @shop.workflow(on="order.placed", id=lambda event: "taken")
    async def ship(flow: Flow) -> None: ...

    async with testing.virtual(shop) as kit:
        await (await shop.start(other, id="taken")).result()
        with closing(sqlite3.connect(shop.client.store.path)) as store, store:
            store.execute("CREATE TABLE seen (state TEXT)")
            store.execute("CREATE TRIGGER see INSERT ON delivery BEGIN INSERT INTO seen VALUES (new.state); END")
        await shop.publish("order.placed", key="o1")
        await kit.idle()
        (letter,) = await shop.client.store.deliveries(DeliveryFilter())
        assert letter.attempts == 1 and "belongs to a run of shop/other" in str(letter.error)
        with closing(sqlite3.connect(shop.client.store.path)) as store:
            states = store.execute("SELECT state FROM seen").fetchall()
        assert states == [("parked",)], "it was never done: a crash in between would have lost the letter"


async def test_one_added_later_works_through_history(tmp_path: Any) -> None:
    first = Shop(tmp_path)

    async with first.connect():
        for number in range(2_500):
            await first.publish("n", number)
    later = Shop(tmp_path)
    seen: list[int] = []
    done = asyncio.Event()

    @later.on("n", start="beginning")
    async def take(event: Event) -> None:
        seen.append(event.data)
        if len(seen) == 2_500:
            done.set()

    @later.on("n")
    async def new(event: Event) -> None:
        raise AssertionError("it began now")

    async with later.worker():
        await asyncio.wait_for(done.wait(), 20)
    assert sorted(seen) == list(range(2_500))


async def test_a_slow_delivery_does_not_keep_the_rest_of_the_log_waiting(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.runtime.reacting.reader.LONG_SECONDS", 3_600.0)
    shop, others, done = Shop(tmp_path), 0, asyncio.Event()

    @shop.on("n", concurrency=4, start="beginning")
    async def take(event: Event) -> None:
        nonlocal others
        if event.key == "k7":
            await done.wait()  # slow until all that waits for nothing has been delivered
            return
        others += 1
        if others == 3_996:  # all but those of its key
            done.set()

    async with shop.connect():
        await asyncio.gather(*(shop.publish("n", number, key=f"k{number % 1_100}") for number in range(4_000)))
    async with shop.worker():
        await asyncio.wait_for(done.wait(), 20)

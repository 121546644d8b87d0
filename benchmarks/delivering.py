"""Events delivered to an empty handler: per second, beside a bare loop over the same rows; and in how much memory."""

import asyncio
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks import meters
from benchmarks.frame import Found, Frame, median, span, verdict
from motet import App, Event
from motet.model.clock import SYSTEM
from motet.model.event import EventRow, LoggedEvent
from motet.model.identity import new_uid
from motet.store.mutations import Mutation
from motet.store.protocol import Ticket

TITLE = "Deliveries to an empty async handler, from the log's beginning"
RATIO_GOAL = 0.25
MEMORY_GOAL_MB = 300
PAGE = 1_000
REACTIONS = (1, 5)


@dataclass
class OrderPlaced:
    order: str
    customer: str
    amount: int


async def ignore(event: Any) -> None:
    """The handler, for the bare loop as for the reactions."""


def shop(store: str, reactions: int) -> App:
    app = App("shop", store=f"sqlite:///{store}")
    app.event("order.placed", key="order")(OrderPlaced)
    for number in range(reactions):

        async def react(event: Event[OrderPlaced]) -> None:
            pass

        app.on(OrderPlaced, start="beginning", name=f"react-{number}")(react)
    return app


async def fill(given: Found) -> Found:
    """The probe that writes the log: `store`, `events`, `keys`."""
    async with shop(given["store"], 0).connect() as app:
        for first in range(0, given["events"], PAGE):
            now = SYSTEM.now()
            numbers = range(first, min(first + PAGE, given["events"]))
            batch: list[Mutation] = [_placed(number, given["keys"], now) for number in numbers]
            await app.client.store.commit([batch], Ticket(secrets.token_hex(12)))
    return {}


def _placed(number: int, keys: int, now: int) -> EventRow:
    key = f"order-{number % keys}"
    data = msgspec.json.encode(OrderPlaced(key, "ada@example.com", number)).decode()
    return EventRow(new_uid(now), "shop", "order.placed", key, now, now, key, None, data)


async def loop(given: Found) -> Found:
    """The bare loop, as a probe: reads the same rows page by page, decodes them, awaits the same handler; no more."""
    decoder = msgspec.json.Decoder(OrderPlaced)
    connection = sqlite3.connect(given["store"])
    query = f"SELECT {', '.join(LoggedEvent._fields)} FROM event WHERE position > ? ORDER BY position LIMIT {PAGE}"  # noqa: S608
    began, position, count = time.perf_counter(), 0, 0
    while rows := connection.execute(query, (position,)).fetchall():
        for fields in rows:
            row = LoggedEvent(*fields)
            await ignore(decoder.decode(row.data))
        position, count = rows[-1][0], count + len(rows)
    seconds = time.perf_counter() - began
    connection.close()
    return {"rate": count / seconds, "count": count}


async def deliver(given: Found) -> Found:
    """The probe that delivers: `store`, `reactions`, `events`. The clock runs from the start of the worker until the
    last position is durable."""
    app = shop(given["store"], given["reactions"])
    moved = asyncio.Event()
    app.hooks.batch_committed(lambda *_: moved.set())
    began = time.perf_counter()
    async with app.worker():
        store = app.client.store
        while any(cursor.position < given["events"] for cursor in await store.cursors()):
            moved.clear()
            await moved.wait()
        seconds = time.perf_counter() - began
        delivered = sum(cursor.delivered for cursor in await store.cursors())
    assert delivered == given["events"] * given["reactions"], f"{delivered} deliveries"
    used = meters.memory()
    return {"rate": delivered / seconds, "peak_mb": used[1] if used is not None else None}


def measure(frame: Frame) -> Found:
    events = 20_000 if frame.quick else 100_000
    repeats: list[Found] = []
    for _ in range(frame.repeats):
        found: Found = {}
        for reactions in REACTIONS:
            with frame.fresh() as store:
                frame.probe("delivering:fill", {"store": store, "events": events, "keys": 1_000})
                found[f"bare_{reactions}"] = frame.probe("delivering:loop", {"store": store})["rate"]
                given = {"store": store, "reactions": reactions, "events": events}
                found[f"rate_{reactions}"] = frame.probe("delivering:deliver", given)["rate"]
        repeats.append(found)
    return {"events": events, "repeats": repeats, "replay": _replay(frame)}


def _replay(frame: Frame) -> Found:
    events = 100_000 if frame.quick else 1_000_000
    with frame.fresh() as store:
        frame.probe("delivering:fill", {"store": store, "events": events, "keys": 10_000})
        return {
            "events": events,
            **frame.probe("delivering:deliver", {"store": store, "reactions": 1, "events": events}),
        }


def show(found: Found) -> list[str]:
    lines: list[str] = []
    for reactions in REACTIONS:
        rates = [one[f"rate_{reactions}"] for one in found["repeats"]]
        ratios = [one[f"rate_{reactions}"] / one[f"bare_{reactions}"] for one in found["repeats"]]
        goal = f"; {verdict(median(ratios), RATIO_GOAL, at_least=True)}" if reactions == 1 else ""
        lines.append(
            f"{reactions} reaction{'s' if reactions > 1 else ' '}:  {span(rates)} deliveries/s, "
            f"{span(ratios, '.2f')} of the bare loop{goal}"
        )
    bare = [one[f"bare_{reactions}"] for one in found["repeats"] for reactions in REACTIONS]
    lines.append(f"bare loop:    {span(bare)} events/s")
    replay = found["replay"]
    peak = replay["peak_mb"]
    told = (
        "not known here" if peak is None else f"{peak:.0f} MB; {verdict(peak, MEMORY_GOAL_MB, ' MB', at_least=False)}"
    )
    lines.append(f"replay of {replay['events']:,} events: {replay['rate']:,.0f}/s, peak {told}")
    return lines

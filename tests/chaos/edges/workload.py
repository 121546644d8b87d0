"""What the campaign's workers declare beside its workflows of the explicit core: reactions, waits, expectations.

`declare(edition)` is the program as it was at one time; workers that start later have newer editions:

    0   as it began
    1   `newcomer` is added, from the beginning of the log
    2   `observe` is renamed to `watch`
    3   `short_lived` is removed

A reaction either tells the ledger of each delivery, or has an effect in the store that is one with the delivery. On
PostgreSQL the handler that writes in its delivery's transaction is a plain function first, and a coroutine from edition
2 on; and one reaction hears what is sold in transactions that are not the engine's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from motet import App, Event, Flow, Missed, Retry, attempt
from tests.chaos.plan import Store
from tests.chaos.workload import FOR_LONG, Order, app, note, tell

EDITION: Final = "CHAOS_EDITION"
EDGES: Final = "CHAOS_EDGES"
"""Which parts of them there are; a worker declares none of this if there are none."""
LAST_EDITION: Final = 3

DELIVERED: Final = Retry(attempts=8, first=0.02, cap=0.3)
"""More than what is flaky needs, also where a delivery fails for another reason; a poison is parked all the same."""

BOOK: Final[Mapping[Store, str]] = {
    store: f"CREATE TABLE IF NOT EXISTS {name} (id {id} PRIMARY KEY, reaction TEXT, position BIGINT, key TEXT)"
    for store, name, id in (
        ("sqlite", "chaos_book", "INTEGER"),
        ("postgres", "public.chaos_book", "BIGINT GENERATED ALWAYS AS IDENTITY"),
    )
}
"""Its rows are in the order in which they were written."""

ANSWER_SECONDS: Final = 2.0
NIGHT_SECONDS: Final = 4.0
BEAT_SECONDS: Final = 1.0


class Poison(Exception):
    """This event can never be delivered."""


async def deliver(event: Event[Any]) -> None:
    """Tell the ledger. Raises Poison; OSError: worth another attempt."""
    now = attempt()
    told = {
        "kind": "delivery", "reaction": now.key.partition(" ")[0], "token": now.token, "key": now.key,
        "about": event.key, "position": event.position, "trouble": trouble_of(event), "pid": os.getpid(),
    }  # fmt: skip
    answer = (await tell(told))["answer"]
    if trouble_of(event) == "poison":
        raise Poison(f"event at {event.position}")
    if answer != "ok":
        raise OSError(answer)


def trouble_of(event: Event[Any]) -> str:
    return str(event.data.get("trouble", "")) if isinstance(event.data, dict) else ""


def stumble(event: Event[Any]) -> None:
    """Raises Poison; OSError: worth another attempt."""
    if trouble_of(event) == "poison":
        raise Poison(f"event at {event.position}")
    if trouble_of(event) == "flaky" and attempt().number < 3:
        raise OSError("not now")


@cache
def declare(edition: int, store: Store = "sqlite") -> App:
    """On the workload's app, once."""
    _react()
    if store == "postgres":
        app.on("thing.sold", name="till", start="beginning", retry=DELIVERED)(deliver)
        _book_on_postgres(awaiting=edition >= 2)
    else:
        _book_on_sqlite()
    if edition >= 1:
        app.on("edge.fact", name="newcomer", start="beginning", retry=DELIVERED)(deliver)
    renamed: dict[str, Any] = {"name": "watch", "aliases": ["observe"]} if edition >= 2 else {"name": "observe"}
    app.on("edge.*", "purchase.*", "race.ended", start="beginning", retry=DELIVERED, **renamed)(deliver)
    if edition < 3:
        app.on("edge.fact", name="short_lived", start="beginning", retry=DELIVERED)(deliver)
    _wait()
    _expect()
    return app


def _react() -> None:
    @app.on("purchase.completed", "edge.fact", start="beginning", retry=DELIVERED)
    def bill(event: Event[Any]) -> None:
        stumble(event)
        event.publish("fact.billed", {"of": event.position})

    @app.on("edge.parcel", start="beginning", retry=Retry(attempts=2, first=0.02), hold=True)
    async def ship(event: Event[Any]) -> None:
        """Behind a dead letter its key waits, until a person has edited it."""
        if "parcels" not in event.data:
            raise KeyError("parcels")
        await deliver(event)

    @app.on("killer.event", start="beginning", retry=DELIVERED)
    async def kamikaze(event: Event[Any]) -> None:
        if trouble_of(event) == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        await deliver(event)

    @app.on("motet.delivery.parked", "motet.expectation.missed", start="beginning", retry=DELIVERED)
    async def page(event: Event[Any]) -> None:
        await deliver(event)

    @app.on("question.asked", start="beginning", retry=DELIVERED)
    async def answer(event: Event[Any]) -> None:
        event.publish("question.answered", event.data, to=event.key)

    @app.workflow(on="edge.order", id=lambda event: f"by-{event.id}", start="beginning")
    async def fulfil(flow: Flow, order: dict[str, Any]) -> str:
        await flow.step(note, order["whom"], "fulfil")
        return str(order["whom"])


def _book_on_sqlite() -> None:
    @app.on("edge.fact", "race.ended", start="beginning", retry=DELIVERED, transaction=True)
    def book(event: Event[Any], connection: Any) -> None:
        connection.execute(
            "INSERT INTO chaos_book (reaction, position, key) VALUES ('chaos/book', ?, ?)", (event.position, event.key)
        )
        booked(event)


def _book_on_postgres(awaiting: bool) -> None:
    row = "INSERT INTO public.chaos_book (reaction, position, key) VALUES ('chaos/book', $1, $2)"
    declared = app.on("edge.fact", "race.ended", start="beginning", retry=DELIVERED, transaction=True, name="book")

    def book(event: Event[Any], connection: Any) -> None:
        connection.execute(row, event.position, event.key)
        booked(event)

    async def book_awaiting(event: Event[Any], connection: Any) -> None:
        await connection.execute(row, event.position, event.key)
        booked(event)

    declared(book_awaiting if awaiting else book)


def booked(event: Event[Any]) -> None:
    """Raises Poison; OSError: worth another attempt, and nothing was written."""
    stumble(event)
    event.publish("fact.booked", {"of": event.position})


def _wait() -> None:
    @app.workflow
    async def asker(flow: Flow, order: Order) -> list[int]:
        """Asks, waits for the answer for a while, and waits again."""
        answers: list[int] = []
        for number in range(3):
            flow.publish("question.asked", {"number": number})
            while len(answers) == number:
                try:
                    answers.append((await flow.wait("question.answered", timeout=0.5)).data["number"])
                except TimeoutError:
                    continue
        return answers

    @app.workflow
    async def listener(flow: Flow, order: Order) -> str:
        """Hears four notes, in the log's order, over a restart."""
        for number in range(2):
            event = await flow.wait("note.sent", "note.sung")
            await flow.step(note, order.id, f"{order.left}.{number} heard {event.position}")
        if order.left:
            flow.restart(Order(order.id, left=order.left - 1))
        return "done"

    @app.workflow
    async def patient(flow: Flow, order: Order) -> int:
        """Waits late for a type of event that others have waited for before it did, and that has come long ago."""
        await flow.sleep(order.seconds)
        return int((await flow.wait(order.trouble)).data)

    @app.workflow
    async def herald(flow: Flow, order: Order) -> str:
        return await flow.step(announce, order)

    @app.step(retry=FOR_LONG)
    async def announce(order: Order) -> str:
        """As often as it likes: the id is the same."""
        return await app.publish("edge.announced", {"whom": order.id}, key=order.id, id=f"herald {order.id}")


def _expect() -> None:
    @app.workflow
    async def remedy(flow: Flow, missed: Missed) -> str:
        await flow.step(note, missed.key, "remedy")
        return missed.key

    app.expect(
        "case.answered", after="case.asked", within=ANSWER_SECONDS, name="answered", start="beginning",
        on_missed=remedy,
    )  # fmt: skip
    app.expect(
        "night.ended", after="night.began", within=NIGHT_SECONDS, name="dawn", start="beginning", on_missed=remedy
    )

    async def mourn(event: Event[Missed]) -> None:
        event.publish("beat.mourned", {"of": event.position})

    app.expect(
        "beat.seen", after="beat.sent", within=BEAT_SECONDS, each=True, name="pulse", start="beginning",
        on_missed=mourn,
    )  # fmt: skip


def program(environment: Mapping[str, str]) -> App:
    """What a worker runs in this environment."""
    store: Store = "postgres" if environment.get("MOTET_STORE", "").startswith("postgresql:") else "sqlite"
    return declare(int(environment[EDITION]), store) if environment.get(EDGES) else app

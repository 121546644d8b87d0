"""Facts from anywhere: ids of one's own, CloudEvents, what caused them, and inside one's own transaction."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from motet import Flow, RunExists, RunFailed
from motet.errors import BadValue, DefinitionError, StoreError, WrongPlace, WrongType
from motet.model.cloudevents import to_document
from motet.store.protocol import LoggedEvent
from tests.stories.conftest import Shop

DAY = 86_400


@pytest.fixture
def mine(shop: Shop) -> Iterator[sqlite3.Connection]:
    """The user's own connection to the store's file, with a table of the user's own."""
    shop.sync.runs()
    shop.sync.close()
    with closing(sqlite3.connect(shop.path)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        connection.commit()
        yield connection


async def log(shop: Shop) -> list[LoggedEvent]:
    return [row for row in await shop.client.store.events(0, 100) if row.source != "motet"]


async def test_an_id_of_ones_own_is_published_once(shop: Shop) -> None:
    async with shop.connect():
        assert await shop.publish("order.placed", {"n": 1}, key="o1", id="delivery-7") == "delivery-7"
        assert await shop.publish("order.placed", {"n": 1}, key="o1", id="delivery-7") == "delivery-7"
        assert await shop.publish("order.placed", {"n": 2}, key="o2", id="delivery-8") == "delivery-8"
        assert [(row.given_id, row.subject) for row in await log(shop)] == [("delivery-7", "o1"), ("delivery-8", "o2")]


async def test_after_a_week_an_id_may_come_again(shop: Shop) -> None:
    async with shop.connect():
        await shop.publish("order.placed", {"n": 1}, id="x")
        shop.clock.ahead += 6 * DAY
        await shop.publish("order.placed", {"n": 2}, id="x")
        shop.clock.ahead += 2 * DAY
        await shop.publish("something.else")  # ids are forgotten along the way
        await shop.publish("order.placed", {"n": 3}, id="y")
        await shop.publish("order.placed", {"n": 4}, id="x")
        assert [json.loads(row.data)["n"] for row in await log(shop) if row.type == "order.placed"] == [1, 3, 4]


async def test_what_a_publisher_may_say(shop: Shop) -> None:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with shop.connect():
        await shop.publish("a", {}, key="k", to="run-1", time=at, conversation="c", traceparent=trace)
        await shop.publish("b", {}, key="k")
        await shop.publish("c")
        await shop.publish("a", {}, key="k", to="run-1")
        first, second, third, fourth = await log(shop)
        assert (first.recipient, first.correlationid, first.traceparent) == ("run-1", "c", trace)
        assert first.time == int(at.timestamp()) * 1_000_000
        assert (second.correlationid, second.causationid, second.source) == ("k", None, "shop")
        assert third.correlationid == third.id, "about nothing, so a conversation of its own"
        assert (fourth.recipient, fourth.correlationid) == ("run-1", "run-1"), (
            "it belongs to the story of who hears of it"
        )
        with pytest.raises(BadValue, match="no time zone"):
            await shop.publish("a", time=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is wrong
        with pytest.raises(DefinitionError, match="are the engine's own"):
            await shop.publish("motet.run.completed", {})


async def test_conversation_and_cause_flow_through_steps_runs_and_children(shop: Shop) -> None:
    keys: dict[str, str] = {}

    @shop.workflow
    async def inner(flow: Flow) -> None:
        flow.publish("inner.done")

    @shop.step
    async def tell() -> None:
        keys["tell"] = (await shop.status("outer")).id
        await shop.publish("step.told", {}, key="elsewhere")
        await (await shop.start(inner, id="started-by-step")).result()

    @shop.workflow
    async def outer(flow: Flow) -> None:
        await flow.step(tell)
        await flow.child(inner, id="child")

    async with shop.worker():
        run = await shop.start(outer, id="outer")
        await run.result()
        rows = await log(shop)
        summaries = {found.id: found for found in await shop.runs(conversation="outer")}
    assert [(row.type, row.correlationid) for row in rows] == [
        ("step.told", "outer"), ("inner.done", "outer"), ("inner.done", "outer")
    ]  # fmt: skip
    assert rows[0].causationid == f"{run.uid}.1.tell#1", "the step's key"
    assert set(summaries) == {"outer", "started-by-step", "child"}


async def test_the_engines_own_facts(shop: Shop) -> None:
    @shop.workflow
    async def fine(flow: Flow) -> None: ...

    @shop.workflow
    async def broken(flow: Flow) -> None:
        raise ValueError("of no use")

    async with shop.worker():
        await (await shop.start(fine, id="f")).result()
        with pytest.raises(RunFailed):
            await (await shop.start(broken, id="b")).result()
        rows = [row for row in await shop.client.store.events(0, 10) if row.source == "motet"]
    assert [(row.type, row.subject, row.correlationid) for row in rows] == [
        ("motet.run.completed", "f", "f"), ("motet.run.failed", "b", "b")
    ]  # fmt: skip
    assert json.loads(rows[1].data)["error"] == {"type": "ValueError", "message": "of no use"}


# --- CloudEvents ---------------------------------------------------------------------------------------------------

DOCUMENT: dict[str, Any] = {
    "specversion": "1.0", "id": "77", "source": "https://billing.example", "type": "invoice.paid", "subject": "o1",
    "time": "2026-01-02T03:04:05Z", "correlationid": "o1", "data": {"paid": True},
}  # fmt: skip


async def test_a_cloudevent_from_outside_enters_the_log_once_and_comes_out_as_it_was(shop: Shop) -> None:
    async with shop.connect():
        assert await shop.publish_cloudevent(json.dumps(DOCUMENT)) == "77"
        assert await shop.publish_cloudevent(DOCUMENT) == "77", "the same again"
        await shop.publish_cloudevent({**DOCUMENT, "source": "https://other.example"})
        first, other = await log(shop)
        written = to_document(first)
    assert {name: written[name] for name in DOCUMENT} == DOCUMENT
    assert (other.source, other.given_id) == ("https://other.example", "77"), "ids are unique within their source"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"specversion": "0.3"}, "specversion is '0.3'"),
        ({"id": None}, "'id' is missing"),
        ({"time": "yesterday"}, "time 'yesterday'"),
        ({"data_base64": "AA=="}, "binary data"),
    ],
)
async def test_what_is_no_cloudevent_is_named(shop: Shop, change: dict[str, Any], says: str) -> None:
    async with shop.connect():
        with pytest.raises(WrongType, match=says):
            await shop.publish_cloudevent({**DOCUMENT, **change})
        assert await log(shop) == []


# --- inside one's own transaction ----------------------------------------------------------------------------------


async def test_what_is_committed_is_published_and_started(shop: Shop, mine: sqlite3.Connection) -> None:
    done: list[str] = []

    @shop.step
    async def ship(order: str) -> None:
        done.append(order)

    @shop.workflow
    async def fulfil(flow: Flow, order: str) -> str:
        await flow.step(ship, order)
        return "shipped"

    async with shop.worker():
        mine.execute("INSERT INTO orders VALUES ('o1')")
        await shop.publish("order.placed", {"n": 1}, key="o1", conn=mine)
        run = await shop.start(fulfil, "o1", id="o1", conn=mine)
        mine.commit()
        assert await run.result() == "shipped", "a worker sees it by itself"
        assert [row.subject for row in await log(shop)] == ["o1"]
    assert done == ["o1"]


async def test_what_is_rolled_back_has_never_been(shop: Shop, mine: sqlite3.Connection) -> None:
    @shop.workflow
    async def fulfil(flow: Flow, order: str) -> None: ...

    async with shop.worker():
        mine.execute("INSERT INTO orders VALUES ('o1')")
        await shop.publish("order.placed", {"n": 1}, key="o1", conn=mine)
        await shop.start(fulfil, "o1", id="o1", conn=mine)
        mine.rollback()
        assert await log(shop) == []
        assert await shop.runs() == []
        assert mine.execute("SELECT count(*) FROM orders").fetchone() == (0,)


async def test_an_error_takes_back_our_part_and_leaves_theirs(shop: Shop, mine: sqlite3.Connection) -> None:
    @shop.workflow
    async def fulfil(flow: Flow, order: str) -> None: ...

    async with shop.worker():
        await (await shop.start(fulfil, "o1", id="o1")).result()
        mine.execute("INSERT INTO orders VALUES ('o1')")
        with pytest.raises(RunExists, match="exists with another input"):
            await shop.start(fulfil, "o2", id="o1", conn=mine)
        again = await shop.start(fulfil, "o1", id="o1", conn=mine)
        mine.commit()
        assert mine.execute("SELECT id FROM orders").fetchall() == [("o1",)]
        assert [found.uid for found in await shop.runs()] == [again.uid]


async def test_a_row_factory_of_the_users_does_not_matter(shop: Shop, mine: sqlite3.Connection) -> None:
    mine.row_factory = lambda cursor, row: {"mine": row}
    mine.text_factory = bytes
    async with shop.connect():
        mine.execute("INSERT INTO orders VALUES ('o1')")
        await shop.publish("order.placed", {"n": 1}, id="once", conn=mine)
        await shop.publish("order.placed", {"n": 1}, id="once", conn=mine)
        mine.commit()
        assert len(await log(shop)) == 1
    assert mine.execute("SELECT id FROM orders").fetchall() == [{"mine": (b"o1",)}]


async def test_a_connection_that_cannot_be_meant_is_refused(shop: Shop, mine: sqlite3.Connection) -> None:
    async with shop.connect():
        with closing(sqlite3.connect(":memory:")) as other, pytest.raises(WrongPlace, match="a database in memory"):
            await shop.publish("order.placed", conn=other)
        with (
            closing(sqlite3.connect(shop.path, isolation_level=None)) as bare,
            pytest.raises(WrongPlace, match="begin one first"),
        ):
            await shop.publish("order.placed", conn=bare)
        with pytest.raises(WrongType, match="conn is a str"):
            await shop.publish("order.placed", conn="motet.db")
        mine.close()
        with pytest.raises(WrongPlace, match="closed"):
            await shop.publish("order.placed", conn=mine)
        assert await log(shop) == []


def test_the_synchronous_face_writes_on_the_callers_thread_and_needs_no_connection(
    shop: Shop, mine: sqlite3.Connection
) -> None:
    @shop.workflow
    async def fulfil(flow: Flow, order: str) -> None: ...

    mine.execute("INSERT INTO orders VALUES ('o1')")
    assert shop.sync.start(fulfil, "o1", id="o1", conn=mine) == "o1"
    shop.sync.publish("order.placed", {"n": 1}, key="o1", conn=mine)
    shop.sync.publish_cloudevent(DOCUMENT, conn=mine)
    mine.commit()
    assert [run.state for run in shop.sync.runs()] == ["pending"]
    shop.sync.close()


async def test_a_file_that_is_no_store_is_refused(shop: Shop) -> None:
    with closing(sqlite3.connect(shop.path)) as bare:
        bare.execute("CREATE TABLE orders (id TEXT)")
        with pytest.raises(StoreError, match="there is no store in the database"):
            shop.within.now(bare, shop.within.start(shop.workflow(_nothing), None, "r", None, None, None))


async def _nothing(flow: Flow) -> None: ...

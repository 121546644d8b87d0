"""Who follows the log for expectations, and what it costs: real workers on a clock that only the test sets forward."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from motet import App, Settings
from motet.model.clock import SECOND, SYSTEM, Micros
from motet.model.expected import MISSED_EVENT, Expected
from motet.store.protocol import CursorRow, ExpectedFilter, Subscription

NAME = "shop/seat"
HOUR = 3600
PATIENCE_SECONDS = 20


class Clock:
    """The system's, set forward."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> Micros:
        return SYSTEM.now() + self.ahead * SECOND

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


class Watcher(App):
    """After `paid`, `seated` within an hour."""

    def __init__(self, path: Path, clock: Clock, name: str = "seat", **options: Any) -> None:
        super().__init__("shop", store=f"sqlite:///{path}", settings=Settings(poll_seconds=0.05), clock=clock)
        self.expect("seated", after="paid", within=HOUR, name=name, **options)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        written = self.client.listen()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():
                await written.wait()
                written.clear()

    async def counted(self, **states: int) -> None:
        """Wait until the expectation has come to this."""

        async def so() -> bool:
            return (await self.client.store.expected_counts()).get(NAME, {}) == states

        await self.until(so)

    async def missed(self) -> list[str | None]:
        return [event.subject for event in await self.client.store.events(0, 100_000) if event.type == MISSED_EVENT]

    async def cursor(self, name: str = NAME) -> CursorRow:
        (found,) = [cursor for cursor in await self.client.store.cursors() if cursor.name == name]
        return found

    async def read_up_to_the_head(self, name: str = NAME) -> None:
        async def so() -> bool:
            return (await self.cursor(name)).position == await self.client.store.head()

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await so():
                await asyncio.sleep(0)  # tidy: the cursor is written within a second


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "motet.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def watcher(path: Path, clock: Clock) -> AsyncGenerator[Watcher]:
    async with Watcher(path, clock).worker() as app:
        assert isinstance(app, Watcher)
        yield app


@asynccontextmanager
async def another(path: Path, clock: Clock, **options: Any) -> AsyncGenerator[Watcher]:
    app = Watcher(path, clock, **options)
    async with app.worker():
        yield app


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


async def test_the_time_is_read_before_the_head_of_the_log(
    watcher: Watcher, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens in time while the head is being read must not be missed by a time that is read afterwards."""
    await watcher.publish("paid", key="42")
    await watcher.counted(open=1)
    store = watcher.client.store
    head, caught = store.head, asyncio.Event()

    async def slow_head() -> int:
        found = await head()
        if not caught.is_set():
            caught.set()
            await watcher.publish("seated", key="42")
            clock.ahead = 2 * HOUR
        return found

    monkeypatch.setattr(store, "head", slow_head)
    await watcher.counted(met=1)
    assert caught.is_set()
    assert await watcher.missed() == []


async def test_one_worker_follows_and_another_goes_on(watcher: Watcher, path: Path, clock: Clock) -> None:
    async with another(path, clock) as heir:
        await watcher.publish("paid", key="1")
        await watcher.counted(open=1)
        owner = watcher.client.worker
        assert owner is not None
        cursor = await watcher.cursor()
        assert (cursor.owner, cursor.epoch) == (owner.id, 1)
        await watcher.client.store.resign(owner.id)  # it stops in good order

        async def taken() -> bool:
            return (await heir.cursor()).owner not in (None, owner.id)

        await heir.until(taken)
        await heir.publish("seated", key="1")
        await heir.publish("paid", key="2")
        await heir.counted(open=1, met=1)
        clock.ahead = 2 * HOUR
        await heir.counted(missed=1, met=1)
        assert await heir.missed() == ["2"]


async def test_a_worker_that_was_taken_for_dead_begins_again(watcher: Watcher, clock: Clock) -> None:
    await watcher.publish("paid", key="1")
    await watcher.counted(open=1)
    worker, store = watcher.client.worker, watcher.client.store
    assert worker is not None
    buried = worker.id
    while not await store.bury(buried, next(row.counter for row in await store.workers() if row.id == buried)):
        pass  # it has written just now
    clock.ahead = 2 * HOUR
    for key in "23":
        await watcher.publish("paid", key=key)
    await watcher.counted(missed=1, open=2)
    assert worker.id != buried
    assert (await watcher.cursor()).epoch == 2
    assert await watcher.missed() == ["1"]


async def test_a_paused_one_waits(watcher: Watcher, path: Path, clock: Clock) -> None:
    await watcher.publish("paid", key="1")
    await watcher.counted(open=1)
    change(path, "UPDATE cursor SET paused = 1")
    clock.ahead = 2 * HOUR
    async with another(path, clock, name="other") as other:
        await other.publish("paid", key="2")
        await other.read_up_to_the_head("shop/other")
        assert await watcher.missed() == []
        assert (await watcher.cursor()).position < await watcher.client.store.head()
    change(path, "UPDATE cursor SET paused = 0")
    await watcher.counted(missed=1, open=1)


async def test_who_is_renamed_while_following_lets_go(watcher: Watcher, path: Path, clock: Clock) -> None:
    """Newer code has taken it over under another name: the older worker writes nothing any more."""
    await watcher.publish("paid", key="1")
    await watcher.counted(open=1)
    async with another(path, clock, name="place", aliases=["seat"]) as newer:
        for key in "234":
            await newer.publish("paid", key=key)
        clock.ahead = 2 * HOUR
        await newer.until(lambda: _all_missed(newer, {"1", "2", "3", "4"}))
        rows = await newer.client.store.expected(ExpectedFilter())
        assert {row.expectation for row in rows} == {"shop/place"}
        assert sorted(str(key) for key in await newer.missed()) == ["1", "2", "3", "4"], "each once"


async def _all_missed(app: Watcher, keys: set[str]) -> bool:
    return set(await app.missed()) >= keys


async def test_what_does_not_concern_it_costs_no_commit_each(watcher: Watcher) -> None:
    """The cursor is moved now and then, and when the worker stops."""
    batches: list[int] = []
    watcher.hooks.batch_committed(lambda units, rows, seconds: batches.append(rows))
    for number in range(50):
        await watcher.publish("something.else", key=str(number))
    await watcher.read_up_to_the_head()
    assert sum(batches) < 50 + 10


async def test_where_it_stopped_is_known_exactly(path: Path, clock: Clock) -> None:
    async with another(path, clock) as app:
        for number in range(5):
            await app.publish("something.else", key=str(number))
        look = app.client.listen()
        look.set()
        await app.read_up_to_the_head()
    async with App("shop", store=f"sqlite:///{path}").connect() as client:
        (cursor,) = await client.client.store.cursors()
        assert (cursor.position, cursor.owner) == (await client.client.store.head(), None)


async def test_what_is_open_does_not_live_in_memory(path: Path, clock: Clock) -> None:
    """Whatever is open or was missed at once: no more rows than a page of the log may change."""
    count = 20_000
    async with App("shop", store=f"sqlite:///{path}").connect() as client:
        store = client.client.store
        await store.subscribe([Subscription(NAME, "expectation", "{}", "now")], SYSTEM.now())
    now = SYSTEM.now()
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO expected (expectation, key, position, state, event, conversation, armed_at, triggers, early) "
            "VALUES (?, ?, ?, 'open', ?, 'talk', ?, 1, 0)",
            ((NAME, f"k{n}", n + 1, f"e{n}", now - n % 2 * HOUR // 2 * SECOND) for n in range(count)),
        )
    connection.close()
    async with another(path, clock) as app:
        await app.publish("paid", key="k5")
        await app.read_up_to_the_head()
        assert _in_memory() <= 1_000
        assert (await app.client.store.expected_counts())[NAME] == {"open": count}
        clock.ahead = HOUR * 3 // 4
        await app.counted(open=count // 2, missed=count // 2)
        assert _in_memory() <= 1_000
        assert len(await app.missed()) == count // 2


def _in_memory() -> int:
    return sum(isinstance(thing, Expected) for thing in gc.get_objects())

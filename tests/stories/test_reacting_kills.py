"""Reactions in processes that are killed in mid-delivery: what they write into the store is there once, in order."""

import asyncio
import random
import secrets
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from motet import App
from motet.store.edges import CursorRow

ROOT = Path(__file__).parent.parent.parent
EVENTS, KEYS, KILLS, REACTIONS = 1_000, 7, 4, 2
PATIENCE_SECONDS = 60


async def begin(path: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.stories.reacting", str(path), cwd=ROOT, stdout=PIPE
    )


async def end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.communicate()


async def hear(process: Process, lines: int) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(lines):
            assert await process.stdout.readline(), "it has ended by itself"


async def until(app: App, holds: Callable[[Sequence[CursorRow]], bool]) -> None:
    """Until it holds of the reactions' cursors, as the store shows them."""
    written = app.client.listen()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            written.clear()
            if holds(await app.client.store.cursors()):
                return
            await written.wait()


async def live_and_die(app: App, path: Path, lines: int) -> None:
    """Killed after so many deliveries, once both reactions have got on: three deaths without that convict somebody."""
    before = {cursor.name: cursor.position for cursor in await app.client.store.cursors()}
    process = await begin(path)
    try:
        await until(
            app,
            lambda cursors: (
                len(cursors) == REACTIONS
                and all(cursor.position > before.get(cursor.name, 0) and not cursor.crashes for cursor in cursors)
            ),
        )
        await hear(process, lines)
    finally:
        await end(process)


async def test_effects_in_the_store_are_once_over_kills(tmp_path: Path) -> None:
    path, seed = tmp_path / "motet.db", secrets.randbits(32)
    print(f"seed {seed}")
    chance, app = random.Random(seed), App("reacting", store=f"sqlite:///{path}")
    async with app.connect():
        for number in range(EVENTS):
            await app.publish("paid", number, key=f"k{number % KEYS}")
        with closing(sqlite3.connect(path)) as store, store:
            store.execute("CREATE TABLE book (id INTEGER PRIMARY KEY, number INTEGER, key TEXT)")
        for _ in range(KILLS):
            await live_and_die(app, path, chance.randrange(5, 120))
        process = await begin(path)
        try:
            await until(app, lambda cursors: all(cursor.position >= EVENTS for cursor in cursors))
        finally:
            await end(process)
        assert await app.client.store.delivery_counts() == {}, "nothing is left behind, and nobody was convicted"
        events = await app.client.store.events(0, 10 * EVENTS)
    with closing(sqlite3.connect(path)) as store:
        booked = store.execute("SELECT key, number FROM book ORDER BY id").fetchall()
    told = {name: [(row.subject, int(row.data)) for row in events if row.type == name] for name in ("booked", "billed")}
    for effects in (booked, told["booked"], told["billed"]):
        assert sorted(number for _, number in effects) == list(range(EVENTS)), "each once, and none lost"
        by_key: dict[str, list[int]] = defaultdict(list)
        for key, number in effects:
            by_key[key].append(number)
        assert all(numbers == sorted(numbers) for numbers in by_key.values()), "in order per key"

"""A step or a delivery may be what kills the process: one line for both, so that nobody is taken for the other."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from motet import Event, Flow
from motet.model.codec import plain
from tests.stories.conftest import Shop

SHORT_TURN_SECONDS = 0.2


class Mixed(Shop):
    """One run and one event, each at its gate; the process has died three times over them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, drain_seconds=0.001)
        self.moments: list[set[str]] = []
        self.hooks.batch_committed(lambda *_: self.moments.append(self.accused()))

        @self.step
        async def work() -> None:
            await self.outside.wait_at("step")

        @self.workflow
        async def working(flow: Flow) -> str:
            await flow.step(work)
            return "worked"

        @self.on("paid", start="beginning")
        async def take(event: Event) -> None:
            await self.outside.wait_at("delivery")

        self.working = working

    async def prepare(self) -> None:
        async with self.worker():
            pass  # it subscribes
        async with self.connect():
            await self.start(self.working, id="one")
            await self.publish("paid")
        with closing(sqlite3.connect(self.path)) as store, store:
            store.execute("UPDATE run SET crashes = 3")
            store.execute("UPDATE cursor SET crashes = 3")

    async def all_delivered(self) -> bool:
        cursors, head = await self.client.store.cursors(), await self.client.store.head()
        rows = await self.client.store.delivery_counts()
        return all(cursor.position == head and not cursor.crashes for cursor in cursors) and not rows

    def accused(self) -> set[str]:
        """Who would be taken for the killer if the process died now."""
        with closing(sqlite3.connect(self.path)) as store:
            runs = store.execute("SELECT current FROM run WHERE ended_at IS NULL").fetchall()
            rows = store.execute("SELECT 'delivery' FROM delivery WHERE state = 'running' AND crashes > 0").fetchall()
        steps = {row["name"] for (current,) in runs for row in plain(current or "[]") if "suspect" in row}
        return steps | {name for (name,) in rows}


async def test_at_most_one_step_or_delivery_is_accused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.runtime.launching.TURN_SECONDS", SHORT_TURN_SECONDS)
    monkeypatch.setattr("motet.runtime.reacting.suspecting.TURN_SECONDS", SHORT_TURN_SECONDS)
    shop = Mixed(tmp_path)
    await shop.prepare()
    async with shop.worker():
        await shop.outside.reached("step")
        await shop.outside.reached("delivery")
        shop.outside.open("step")
        shop.outside.open("delivery")
        assert await shop.result("one") == "worked"
        await shop.until(shop.all_delivered)
    assert all(len(accused) <= 1 for accused in shop.moments), shop.moments
    assert {"delivery"} in shop.moments and {"work"} in shop.moments


async def test_who_is_left_by_an_orderly_end_is_not_taken_for_the_killer(tmp_path: Path) -> None:
    shop = Mixed(tmp_path)
    await shop.prepare()
    shop.outside.open("step")
    async with shop.worker():
        await shop.outside.reached("delivery")
        assert shop.accused() == {"delivery"}
    heir = Mixed(tmp_path)
    heir.outside.open("step")
    heir.outside.open("delivery")
    async with heir.worker():
        await heir.until(heir.all_delivered)
        assert await heir.dead_letters() == []

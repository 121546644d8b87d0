"""Runs that were in memory at three crashes: they go one by one, and none is forgotten while it waits for its turn."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from motet import Flow, attempt
from tests.stories.conftest import PATIENCE_SECONDS, Shop


async def test_a_suspect_that_waits_long_for_its_turn_gets_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, idle_seconds=0.2)

    @shop.step
    async def work() -> str:
        await shop.outside.wait_at("work")
        return attempt().run

    @shop.workflow
    async def suspected(flow: Flow) -> str:
        return await flow.step(work)

    @shop.workflow
    async def resting(flow: Flow) -> None:
        await flow.sleep(3600)

    async with shop.connect():
        for id in ("first", "second"):
            await shop.start(suspected, id=id)
    with closing(sqlite3.connect(shop.path)) as store, store:
        store.execute("UPDATE run SET crashes = 3")
    async with shop.worker():
        await shop.outside.reached("work")
        # It comes later than the suspect that waits, so when it has been idle for long enough, that one has as well.
        await shop.start(resting, id="resting")
        await shop.until_state("resting", "waiting")
        shop.outside.open("work")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert [await shop.result(id) for id in ("first", "second")] == ["first", "second"]

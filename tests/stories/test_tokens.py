"""Fencing tokens as a target sees them: by the run's id, they only grow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from motet import Flow, attempt
from motet.errors import RunFailed
from tests.stories.conftest import Shop


@pytest.mark.parametrize("from_a_worker", [True, False], ids=["from a worker", "from a client"])
@pytest.mark.parametrize("queue", ["default", "narrow"])
async def test_an_id_that_is_used_again_has_newer_tokens(tmp_path: Path, from_a_worker: bool, queue: str) -> None:
    shop = Shop(tmp_path)
    shop.queue("narrow", concurrency=1)

    @shop.step
    async def token() -> int:
        return attempt().token

    @shop.workflow(queue=queue)
    async def told(flow: Flow, good: bool) -> int:
        if not good:
            raise OSError("not this time")
        return await flow.step(token)

    async with shop.worker():
        first = await shop.start(told, False, id="told")
        with pytest.raises(RunFailed):
            await first.result()
    with closing(sqlite3.connect(shop.path)) as store, store:
        store.execute("UPDATE run SET epoch = 5")  # as after four changes of its owner
    if not from_a_worker:
        async with shop.connect():
            await shop.start(told, True, id="told", reuse="after_failure")
    async with shop.worker():
        second = await shop.start(told, True, id="told", reuse="after_failure")
        assert await second.result() == 6

"""A worker that is idle or held up is alive, and shows it; one whose loop hangs for good is not."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from motet import App, Flow, Settings
from motet.runtime import heartbeat
from motet.store.protocol import WorkerRow

LEASE = 1.0
PATIENCE = 30


class Blocker:
    """What a step does that, against all rules, blocks the event loop until `held` is set, the first time."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.held = threading.Event()
        self.done: list[str] = []

    def block(self, name: str) -> None:
        first = not self.begun.is_set()
        self.begun.set()
        assert not first or self.held.wait(PATIENCE)
        self.done.append(name)


def shop(folder: Path, blocker: Blocker) -> App:
    app = App("shop", store=f"sqlite:///{folder / 'motet.db'}", settings=Settings(lease_seconds=LEASE))

    @app.step(timeout=None)
    async def block(name: str) -> None:
        blocker.block(name)

    @app.workflow
    async def hold_up(flow: Flow, name: str) -> None:
        await flow.step(block, name)

    return app


class InThread:
    """A worker on an event loop of its own, which a test can block without blocking itself."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.id = 0
        self._ready = threading.Event()
        self._enough: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)

    async def _work(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._enough = lambda: loop.call_soon_threadsafe(over.set)
        async with self.app.worker():
            (self.id,) = [row.id for row in await rows(self.app)]
            self._ready.set()
            await over.wait()

    def start(self, id: str) -> None:
        """Start a run of the workflow; nobody waits for the reply, which comes when the loop is free again."""
        asyncio.run_coroutine_threadsafe(self.app.start("hold_up", id, id=id), self.app.client.loop)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough()
        self._thread.join(PATIENCE)


async def rows(app: App) -> list[WorkerRow]:
    return await app.client.store.workers()


async def until(holds: Callable[[list[WorkerRow]], bool], app: App) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds(await rows(app)):
            await asyncio.sleep(0.02)  # tidy: between two looks


async def test_the_counter_of_an_idle_worker_moves(tmp_path: Path) -> None:
    app = shop(tmp_path, Blocker())
    async with app.worker():
        (first,) = await rows(app)
        await until(lambda found: found[0].beats >= first.beats + 3 and found[0].batch == first.batch, app)


async def test_a_step_that_blocks_the_loop_for_several_leases_costs_the_worker_nothing(tmp_path: Path) -> None:
    blocker = Blocker()
    sibling = shop(tmp_path, blocker)
    with InThread(shop(tmp_path, blocker)) as blocked:
        async with sibling.worker():
            blocked.start("a")
            assert blocker.begun.wait(PATIENCE)
            over = time.monotonic() + 3 * LEASE
            await until(lambda _: time.monotonic() > over, sibling)
            assert blocked.id in [row.id for row in await rows(sibling)], "it was buried alive"
            blocker.held.set()
            await sibling.result("a")
    assert blocker.done == ["a"]


async def test_a_worker_whose_loop_hangs_is_buried_and_its_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HUNG_SECONDS", 0.8)
    blocker = Blocker()
    sibling = shop(tmp_path, blocker)
    with InThread(shop(tmp_path, blocker)) as hung:
        hung.start("a")
        assert blocker.begun.wait(PATIENCE)
        async with sibling.worker():
            await sibling.result("a")
            assert blocker.done == ["a"], "by the sibling; the other is still at it"
            blocker.held.set()

"""Apps under virtual time: on a temporary store, driven in this process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from motet.app import App, Lifespan
from motet.config import Settings
from motet.model.clock import Duration, from_datetime, seconds
from motet.orchestration.definitions import in_workflow_body
from motet.orchestration.guard import install_guard, set_guard
from motet.runtime.worker import Worker
from motet.testing.blocking import BlockingKit, LoopThread
from motet.testing.clock import VirtualClock
from motet.testing.kit import Kit
from motet.testing.motion import Motion
from motet.testing.stillness import Stillness

START = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time begins unless a test says otherwise: always the same, for a test to be the same every day."""

PATIENCE_SECONDS = 5.0
DRAIN_SECONDS = 1.0
IDLE_SECONDS = 3_600.0
RESIDENT_LIMIT = 4_000


class virtual:  # noqa: N801 - it reads as a verb: async with virtual(app) as kit
    """Drive the apps in this process, on a temporary store, in virtual time.

        async with virtual(shop) as kit:
            run = await shop.start(trial, "alice", id="trial-alice")
            await kit.advance(timedelta(days=30))
            assert await run.result() == "ended"

    Inside the block the apps' own verbs work as with `app.worker()`; the apps' own stores are not touched. Time stands
    still until the kit moves it: durable sleeps, deadlines, waits before retries and timeouts of steps are due in
    virtual time, while real work of steps is awaited in real time. Blocking I/O in workflow bodies is refused.

    `with virtual(shop) as kit:` is the same for tests that are plain functions: the kit's verbs block, and `shop.sync`
    is the app.

    Args:
        app: the app; with `others`, all share the store and the clock.
        auto: whenever the apps are idle, the clock moves by itself to what is due next.
        start: when virtual time begins; by default 2030-01-01, midnight in UTC.
        patience: how long a step may be at work in real time before it is taken to hang: a timedelta, or seconds. From
            then on the clock moves without it, and its timeout, which is virtual, ends it. If its timeout is shorter
            than this, it has so much real time.
        store: a store's address, to keep what happens; by default a temporary one.
        settings: instead of the apps' own. Without them, runs that sleep stay in memory for longer than they would
            otherwise, up to 4,000 of them, and steps at work at the end of the block have only a second.
        lifespan: instead of the app's own, for `app.resources`; with several apps, the first one's.

    Raises:
        NotConnected: an app is connected already.
        ValueError: `start` has no time zone.
    """

    def __init__(
        self, app: App, *others: App, auto: bool = False, start: datetime = START,
        patience: Duration = PATIENCE_SECONDS, store: str | None = None, settings: Settings | None = None,
        lifespan: Lifespan | None = None,
    ) -> None:  # fmt: skip
        self._apps = (app, *others)
        self._auto = auto
        self._start = from_datetime(start)
        self._patience = seconds(patience)
        self._store = store
        self._settings = settings
        self._lifespan = lifespan
        self._left: ExitStack | AsyncExitStack = ExitStack()

    async def __aenter__(self) -> Kit:
        async with AsyncExitStack() as stack:
            kit = await stack.enter_async_context(stack.enter_context(self._lent()))
            self._left = stack.pop_all()
            return kit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert isinstance(self._left, AsyncExitStack)
        await self._left.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingKit:
        with ExitStack() as stack:
            driving = stack.enter_context(self._lent())
            for app in self._apps:
                stack.callback(app.sync.close)
            kit = stack.enter_context(LoopThread(driving))
            self._left = stack.pop_all()
            return kit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert isinstance(self._left, ExitStack)
        self._left.__exit__(kind, error, trace)

    @contextmanager
    def _lent(self) -> Generator[AbstractAsyncContextManager[Kit]]:
        """The apps as the block has them, to the very end of it: even if driving them has failed, a test that does not
        know of it yet must not get at their own stores."""
        with ExitStack() as stack:
            folder = None
            address = self._store
            if address is None:
                folder = TemporaryDirectory(prefix="motet-", ignore_cleanup_errors=True)
                stack.callback(folder.cleanup)
                address = f"sqlite:///{Path(folder.name, 'virtual.db')}"
            install_guard(in_workflow_body)
            stack.callback(set_guard, set_guard(True))
            clock = VirtualClock(self._start)
            lifespan = self._lifespan
            for app in self._apps:
                stack.enter_context(app.under(self._settings_of(app, address), clock, lifespan))
                lifespan = None
            yield self._drive(address, clock, folder)

    @asynccontextmanager
    async def _drive(
        self, address: str, clock: VirtualClock, folder: TemporaryDirectory[str] | None
    ) -> AsyncGenerator[Kit]:
        async with AsyncExitStack() as stack:
            if folder is not None:
                stack.enter_context(folder)
            workers: list[Worker] = []
            for app in self._apps:
                await stack.enter_async_context(app.worker())
                worker = app.client.worker
                assert worker is not None
                workers.append(worker)
            stillness = Stillness(workers, clock, self._patience)
            motion = Motion(clock, stillness)
            if self._auto:
                written = self._apps[0].client.listen()
                await stack.enter_async_context(_going(motion.follow(written)))
            yield Kit(address, clock, motion, workers[0].timers, stillness.sleeping)

    def _settings_of(self, app: App, address: str) -> Settings:
        if self._settings is not None:
            return replace(self._settings, store=address, development=True)
        own = app.settings
        return replace(
            own,
            store=address,
            development=True,
            # Going to the store and back is the dear part of a long sleep.
            idle_seconds=max(own.idle_seconds, IDLE_SECONDS),
            resident_limit=max(own.resident_limit, RESIDENT_LIMIT),
            # Nobody takes over what is at work at the end of the block.
            drain_seconds=min(own.drain_seconds, DRAIN_SECONDS),
        )


@asynccontextmanager
async def _going(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Something that goes on beside the block. If it fails, so does the block: it may wait for what never comes."""
    block = asyncio.current_task()
    assert block is not None
    beside = asyncio.get_running_loop().create_task(work, name="motet-virtual-time")

    def over(_: asyncio.Task[None]) -> None:
        if not beside.cancelled():
            block.cancel()

    beside.add_done_callback(over)
    try:
        yield
    finally:
        beside.cancel()
        await asyncio.wait([beside])
        if not beside.cancelled():
            block.uncancel()
            beside.result()  # raises what it failed with

"""Apps under virtual time: on a temporary store, driven by workers in this process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, TypeVar

from motet.app import App, Lifespan
from motet.config import Settings
from motet.errors import WrongPlace
from motet.model.clock import Duration, from_datetime, seconds
from motet.orchestration.definitions import in_workflow_body
from motet.orchestration.guard import install_guard, set_guard
from motet.runtime.worker import Worker
from motet.testing.clock import VirtualClock
from motet.testing.kit import Kit

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)
"""When virtual time begins unless a test says otherwise: always the same, for a test to be the same every day."""

PATIENCE_SECONDS = 5.0
DRAIN_SECONDS = 1.0
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
        patience: how long in real time (a timedelta, or seconds) a step may be at work before it is taken to hang. From
            then on the clock moves without it, and its timeout (virtual) ends it. What has a shorter timeout has as much.
        store: a store's address, to keep what happens; by default a temporary one.
        settings: instead of the first app's.
        lifespan: for `app.resources`, instead of the app's own; with several apps, of the first.

    Raises:
        NotConnected: an app is connected already.
        ValueError: `start` has no time zone.
    """

    def __init__(
        self, app: App, *others: App, auto: bool = False, start: datetime = START, patience: Duration = PATIENCE_SECONDS,
        store: str | None = None, settings: Settings | None = None, lifespan: Lifespan | None = None,
    ) -> None:  # fmt: skip
        self._apps = (app, *others)
        self._auto = auto
        self._start = from_datetime(start)
        self._patience = seconds(patience)
        self._store = store
        self._settings = settings
        self._lifespan = lifespan
        self._block: AbstractAsyncContextManager[Kit] | None = None
        self._thread: _Thread | None = None

    async def __aenter__(self) -> Kit:
        self._block = self._open()
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._block is not None
        block, self._block = self._block, None
        return await block.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingKit:
        self._thread = _Thread(self._open())
        return self._thread.kit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        thread, self._thread = self._thread, None
        thread.end()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Kit]:
        async with AsyncExitStack() as stack:
            address = self._store
            if address is None:
                folder = stack.enter_context(TemporaryDirectory(prefix="motet-", ignore_cleanup_errors=True))
                address = f"sqlite:///{Path(folder, 'virtual.db')}"
            install_guard(in_workflow_body)
            stack.callback(set_guard, set_guard(True))
            clock = VirtualClock(self._start)
            lifespan = self._lifespan
            workers: list[Worker] = []
            for app in self._apps:
                stack.enter_context(app.under(self._settings_of(app, address), clock, lifespan))
                lifespan = None
                await stack.enter_async_context(app.worker())
                worker = app.client.worker
                assert worker is not None
                workers.append(worker)
            kit = Kit(self._apps, clock, workers, address, self._patience)
            if self._auto:
                following = asyncio.get_running_loop().create_task(kit.follow(), name="motet-virtual-time")
                stack.push_async_callback(_end, following)
            yield kit

    def _settings_of(self, app: App, address: str) -> Settings:
        settings = self._settings or app.settings
        return replace(
            settings,
            store=address,
            development=True,
            # Nobody takes over what is at work at the end of the block.
            drain_seconds=min(settings.drain_seconds, DRAIN_SECONDS),
            # Going to the store and back is the dear part of a long sleep.
            resident_limit=max(settings.resident_limit, RESIDENT_LIMIT),
        )


async def _end(following: asyncio.Task[None]) -> None:
    """Raises what went wrong in it: the clock has stood still since, and the test should say why."""
    following.cancel()
    try:
        await following
    except asyncio.CancelledError:
        return


class BlockingKit:
    """`Kit` for tests that are plain functions: its verbs block until they are done."""

    def __init__(self, kit: Kit, loop: asyncio.AbstractEventLoop) -> None:
        self.store = kit.store
        self._kit = kit
        self._loop = loop

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return self._kit.now

    def idle(self) -> None:
        """See `Kit.idle`."""
        self._run(self._kit.idle())

    def advance(self, by: Duration) -> None:
        """See `Kit.advance`."""
        self._run(self._kit.advance(by))

    def advance_to(self, at: datetime) -> None:
        """See `Kit.advance_to`."""
        self._run(self._kit.advance_to(at))

    async def sleep(self, duration: Duration) -> None:
        """See `Kit.sleep`; steps are async here too."""
        await self._kit.sleep(duration)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class _Thread:
    """An event loop for the length of one `with` block, which the block's two ends share as one task."""

    def __init__(self, block: AbstractAsyncContextManager[Kit]) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # as it must be
        else:
            raise WrongPlace("an event loop runs in this thread; write 'async with virtual(...)'")
        self._block = block
        self._ready: Future[BlockingKit] = Future()
        self._over: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="motet-virtual-time", daemon=True)
        self._thread.start()
        self.kit = self._ready.result()

    def end(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._left.set)
        self._thread.join()
        self._over.result()

    def _serve(self) -> None:
        try:
            asyncio.run(self._stay())
        except BaseException as error:
            (self._over if self._ready.done() else self._ready).set_exception(error)
        else:
            self._over.set_result(None)

    async def _stay(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._block as kit:
            self._ready.set_result(BlockingKit(kit, self._loop))
            await self._left.wait()

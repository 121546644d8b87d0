"""The kit for tests that are plain functions: an event loop in a thread, for the length of one block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from motet.errors import WrongPlace
from motet.model.clock import Duration
from motet.testing.kit import Kit

T = TypeVar("T")


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


class LoopThread:
    """An event loop for the length of one `with` block, whose two ends are one task there."""

    def __init__(self, driving: AbstractAsyncContextManager[Kit]) -> None:
        self._driving = driving
        self._ready: Future[BlockingKit] = Future()
        self._over: Future[None] = Future()
        self._left = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="motet-virtual-time", daemon=True)

    def __enter__(self) -> BlockingKit:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # as it must be
        else:
            raise WrongPlace("an event loop runs in this thread; write 'async with virtual(...)'")
        self._thread.start()
        return self._ready.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the block has failed on its own, and its loop has closed
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
        async with self._driving as kit:
            self._ready.set_result(BlockingKit(kit, self._loop))
            await self._left.wait()

"""What one process holds of a store while an app is connected: the store itself, the committer, the pulse."""

from __future__ import annotations

import asyncio
import logging

from motet.config import Settings
from motet.model.clock import Clock
from motet.orchestration.registry import Registry
from motet.runtime.committer import Committer
from motet.runtime.hooks import Hooks
from motet.runtime.pulse import Pulse
from motet.store.open import store_at
from motet.store.protocol import Store
from motet.store.sealed import check_store, sealed

log = logging.getLogger("motet")


class Session:
    """Opened on one event loop; a worker is built on it, or a client alone."""

    def __init__(self, registry: Registry, settings: Settings, clock: Clock, hooks: Hooks) -> None:
        self.registry = registry
        self.settings = settings
        self.clock = clock
        self.hooks = hooks
        self.store: Store = sealed(store_at(settings.store, clock, settings), settings.keys, clock)
        self.committer = Committer(self.store, settings, clock, hooks)
        self.pulse = Pulse(self.store)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, *, create: bool) -> None:
        """Raises StoreMissing, StoreRefused, StoreUnavailable."""
        await self.store.open(create=create)
        try:
            await check_store(self.store, self.settings.keys)
        except BaseException:
            await self.store.close()
            raise
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.committer.run(), name="motet-committer"),
            loop.create_task(self.pulse.run(), name="motet-pulse"),
        ]

    async def close(self) -> None:
        """Write what is left to write, then let go of the store."""
        if not await self.committer.flushed(self.settings.drain_seconds):
            log.error("the store did not take the last records in %g s", self.settings.drain_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

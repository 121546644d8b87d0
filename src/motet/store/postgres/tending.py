"""What a worker does for everybody: it moves into the log what users' transactions have published.

Whoever writes an event does so by the way. When nobody does, one worker does at a time: whoever gets the lock for it,
which is let go of with the transaction, so that nobody can die and keep it.
"""

from __future__ import annotations

import asyncio
import logging

from motet.errors import StoreError
from motet.model.clock import Clock
from motet.store.postgres import log as event_log
from motet.store.postgres.connections import Connections
from motet.store.postgres.hints import Hints

log = logging.getLogger("motet.store")

MOVING = 0x4D6F7402  # an advisory lock of ours
APART_SECONDS = 0.01

STANDS = "SELECT EXISTS (SELECT 1 FROM motet.outbox)"
MINE = f"SELECT pg_try_advisory_xact_lock({MOVING})"
# Said to a run that was just ending; nobody reads it any more.
FORGET_INBOX = "DELETE FROM motet.inbox USING motet.run WHERE run.uid = inbox.uid AND run.ended_at IS NOT NULL"


class Tending:
    """Lives on the store's event loop, from the first registration of a worker on."""

    def __init__(self, connections: Connections, clock: Clock, hints: Hints) -> None:
        self._connections = connections
        self._clock = clock
        self._hints = hints
        self._heard = hints.listen(outbox=True)
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether a worker lives in this process."""
        return self._task is not None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tend(), name="motet-tend")

    async def stop(self) -> None:
        """After what it is about."""
        task, self._task = self._task, None
        if task is not None:
            self._stopping = True
            self._heard.set()
            await asyncio.gather(task, return_exceptions=True)

    async def _tend(self) -> None:
        while not self._stopping:
            try:
                if await self._connections.read(lambda link: link.value(STANDS)):
                    await self.move()
            except StoreError as error:
                log.debug("cannot look into the outbox: %s", error)
            await asyncio.sleep(APART_SECONDS)  # tidy: under load every commit is a hint
            await self._hints.wait(self._heard)

    async def move(self) -> int:
        """What stands in the outbox enters the log, unless somebody else is about it; returns how many."""
        moved = 0
        async with self._connections.transaction() as (link, _):
            if await link.value(MINE):
                await event_log.lock(link)
                moved = await event_log.move(link, self._clock.now())
                await link.do(FORGET_INBOX)
        if moved:
            await self._hints.tell()
        return moved

"""Hearing that somebody has committed: by NOTIFY where a session of ours can LISTEN, by looking behind it.

A hint is not news, and none may come: whoever tells dies between its commit and its NOTIFY, a pooler stands between.
So after a while whoever waits looks without any. A batch tells at most once, after its commit: inside the transaction
PostgreSQL would let all that tell commit one after the other only, each waiting for the others' disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from motet.model.clock import Clock
from motet.store.postgres.connections import Connections
from motet.store.postgres.link import Link, connect

log = logging.getLogger("motet.store")

CHANNEL = "motet"
TELL = f"NOTIFY {CHANNEL}"
QUIET_SECONDS = 1.0  # with LISTEN: in case that nobody told
POLL_SECONDS = 0.1  # without
APART_SECONDS = 0.005
AGAIN_SECONDS = 1.0
ASK_SECONDS = 15.0
STOPPING_SECONDS = 1.0

SNAPSHOT = "SELECT pg_current_snapshot()::text"
"""Which transactions count: as long as this is the same, nothing has changed for whoever looks."""


class Hints:
    """Lives on the store's event loop."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._listeners: list[asyncio.Event] = []
        self._asleep = self.listen()
        self._listening: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._told = 0.0
        self._telling: asyncio.Task[None] | None = None
        self._seen = ""
        self._stopping = False
        self._ended = asyncio.Event()

    def start(self) -> None:
        if self._connections.address.listen:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="motet-listen")

    async def stop(self) -> None:
        """Those who wait return now."""
        self._stopping = True
        self._hear()
        self._ended.set()
        tasks = {task for task in (self._listening, self._telling) if task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOPPING_SECONDS)
            for task in late:
                task.cancel()
        if self._link is not None:
            await self._link.close()

    async def changed(self) -> bool:
        """Whether anybody has committed anything since the last call."""
        snapshot = await self._connections.read(lambda link: link.value(SNAPSHOT))
        changed: bool = snapshot != self._seen
        self._seen = snapshot
        return changed

    def listen(self) -> asyncio.Event:
        """An event that is set at every hint, for `wait`."""
        heard = asyncio.Event()
        self._listeners.append(heard)
        return heard

    async def wait(self, heard: asyncio.Event | None = None) -> None:
        """Return when it is worth looking. Each that waits has an event of its own; one may do without."""
        heard = heard or self._asleep
        quiet = QUIET_SECONDS if self._link is not None and not self._link.is_closed else POLL_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(quiet):
                await heard.wait()
        heard.clear()

    async def tell(self) -> None:
        """Something was committed here. Those that tell often tell a little later, once for all."""
        self._hear()
        if self._telling is not None and not self._telling.done():
            return
        wait = self._told + APART_SECONDS - self._clock.monotonic()
        if wait <= 0:
            await self._tell()
        else:
            self._telling = asyncio.get_running_loop().create_task(self._tell_later(wait))

    async def _tell_later(self, wait: float) -> None:
        await asyncio.sleep(wait)  # tidy: this is the rhythm
        await self._tell()

    async def _tell(self) -> None:
        self._told = self._clock.monotonic()
        try:
            await self._connections.read(lambda link: link.script(TELL))
        except Exception as error:  # the commit counts all the same, and others look by themselves
            log.debug("nobody was told of a commit: %s", error)

    async def _listen(self) -> None:
        """As long as the store is open, whatever the connection goes through."""
        while not self._stopping:
            self._ended.clear()
            try:
                self._link = await connect(self._connections.address, self._connections.counted)
                await self._link.raw.add_listener(CHANNEL, self._hear)
                self._hear()
                await self._until_ended(self._link)
            except Exception as error:  # tidy: hints come by looking until the server is back
                log.debug("cannot listen: %s", error)
            if not self._stopping:
                self._ended.clear()
                await self._pause(AGAIN_SECONDS)

    async def _until_ended(self, link: Link) -> None:
        """Asking now and then, for of a network that has fallen silent nobody tells."""
        link.raw.add_termination_listener(self._end)
        while not await self._pause(ASK_SECONDS):
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await link.value("SELECT 1")
            except BaseException:
                link.abandon()
                raise

    async def _pause(self, seconds: float) -> bool:
        """At most so long; whether the connection, or the store, has come to its end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()

    def _end(self, *_: Any) -> None:
        self._ended.set()

    def _hear(self, *_: Any) -> None:
        for heard in self._listeners:
            heard.set()

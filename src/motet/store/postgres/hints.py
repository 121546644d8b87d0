"""Hearing that somebody has committed: by NOTIFY where a session of ours can LISTEN, by looking behind it.

A hint is not news, and none may come: whoever tells dies between its commit and its NOTIFY, a pooler stands between.
So after a while whoever waits looks without any. A batch tells at most once, after its commit: inside the transaction
PostgreSQL would let all that tell commit one after the other only, each waiting for the others' disk. But both are said
in one message (`Word`), so that to tell costs no round trip.

What is told is who tells, or what: a process does not hear itself, for it knows already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any

from motet.model.clock import Clock
from motet.store.postgres.connections import Connections
from motet.store.postgres.link import Link, connect

log = logging.getLogger("motet.store")

CHANNEL = "motet"
PUBLISHED = "published"
"""Told by a user's transaction: something stands in the outbox."""
STARTED = "started"
"""Told by a user's transaction that has published nothing."""

QUIET_SECONDS = 1.0  # with LISTEN: in case that nobody told
POLL_SECONDS = 0.1  # without
APART_SECONDS = 0.005
SOON_SECONDS = 0.05
AGAIN_SECONDS = 1.0
ASK_SECONDS = 15.0
STOPPING_SECONDS = 1.0

SNAPSHOT = "SELECT pg_current_snapshot()::text"
"""Which transactions count: as long as this is the same, nothing has changed for whoever looks."""


class Word:
    """What one transaction tells of its commit: at once, in the message that commits, or a little later."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self.said = False

    def behind(self) -> str:
        """The statement to be said behind COMMIT; empty: not now."""
        self.said = self._hints.may_tell()
        return self._hints.telling if self.said else ""


class Hints:
    """Lives on the store's event loop."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._name = secrets.token_hex(4)
        self.telling = f"NOTIFY {CHANNEL}, '{self._name}'"
        self._listeners: list[asyncio.Event] = []
        self._for_outbox: list[asyncio.Event] = []
        self._asleep = self.listen()
        self._listening: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._told = 0.0
        self._telling: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._seen = ""
        self._stopping = False
        self._ended = asyncio.Event()

    def start(self) -> None:
        if self._connections.address.listen:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="motet-listen")

    async def stop(self) -> None:
        """Those who wait return now."""
        self._stopping = True
        self._forget_soon()
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

    def listen(self, *, outbox: bool = False) -> asyncio.Event:
        """An event that is set at every hint, for `wait`; or only when something may stand in the outbox."""
        heard = asyncio.Event()
        (self._for_outbox if outbox else self._listeners).append(heard)
        return heard

    async def wait(self, heard: asyncio.Event | None = None) -> bool:
        """Return when it is worth looking; whether anybody has told. Each that waits has an event of its own; one may
        do without."""
        heard = heard or self._asleep
        quiet = QUIET_SECONDS if self._link is not None and not self._link.is_closed else POLL_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(quiet):
                await heard.wait()
        told = heard.is_set()
        heard.clear()
        return told

    def may_tell(self) -> bool:
        """Whether the last telling is long enough ago; if so, whoever asks tells."""
        now = self._clock.monotonic()
        if now < self._told + APART_SECONDS or self._tells_later:
            return False
        self._told = now
        return True

    async def tell(self, word: Word | None = None, *, here: bool = True) -> None:
        """Something was committed. Those that tell often tell a little later, once for all.

        Args:
            word: may have told already.
            here: this process may have something to do because of it as well.
        """
        self._forget_soon()
        if here:
            self._hear(outbox=False)
        if (word is not None and word.said) or self._tells_later:
            return
        if self.may_tell():
            await self._tell()
        else:
            self._tell_later(self._told + APART_SECONDS - self._clock.monotonic())

    def mention(self) -> None:
        """Something was committed that gives nobody anything to do. Those who look on hear of it a little later."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._mention)

    def _mention(self) -> None:
        self._soon = None
        self._hear(outbox=False)
        if not self._tells_later:
            self._tell_later(0)

    def _forget_soon(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    @property
    def _tells_later(self) -> bool:
        return self._telling is not None and not self._telling.done()

    def _tell_later(self, seconds: float) -> None:
        self._telling = asyncio.get_running_loop().create_task(self._tell_after(seconds))

    async def _tell_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # tidy: this is the rhythm
        self._told = self._clock.monotonic()
        await self._tell()

    async def _tell(self) -> None:
        try:
            await self._connections.read(lambda link: link.script(self.telling))
        except Exception as error:  # the commit counts all the same, and others look by themselves
            log.debug("nobody was told of a commit: %s", error)

    async def _listen(self) -> None:
        """As long as the store is open, whatever the connection goes through."""
        while not self._stopping:
            self._ended.clear()
            try:
                self._link = await connect(self._connections.address, self._connections.counted)
                await self._link.raw.add_listener(CHANNEL, self._notified)
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

    def _notified(self, _connection: Any, _pid: int, _channel: str, what: str) -> None:
        if what == self._name:
            return  # heard when it was said
        # An older program says nothing but that it tells, whatever there is.
        self._hear(outbox=what in (PUBLISHED, ""))

    def _hear(self, *, outbox: bool = True) -> None:
        for heard in (*self._listeners, *(self._for_outbox if outbox else ())):
            heard.set()

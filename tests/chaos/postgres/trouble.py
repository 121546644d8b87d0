"""A PostgreSQL of the campaign's own, and everything that befalls it and the way to it.

The server has its data on a small disk, so that the disk can be full; clients reach it through the proxy, and those who
look from outside go around it. Each trouble is counted when it has truly happened, by the proxy or by the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator

import asyncpg

from tests.chaos.asking import connect
from tests.chaos.faults.disk import SmallDisk
from tests.chaos.faults.proxy import ProxyProcess
from tests.postgres_server import PostgresServer

SETTINGS = {
    "synchronous_commit": "on", "max_connections": "200", "shared_buffers": "64MB", "max_wal_size": "96MB",
    "min_wal_size": "32MB", "log_line_prefix": "%m [%p] %a ",
}  # fmt: skip
"""As a user would have them, on a small disk."""
DISK_MEBIBYTES = 700
DATABASE = "chaos"
SILENT_SECONDS = 30.0
"""So long a half-open connection may stay: then who waits behind it is cut off by the router, which is told."""
RECOVERING_SECONDS = 8.0
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Trouble:
    """The server, the way to it, and what befalls them; `counts` says how often."""

    def __init__(self, server: PostgresServer, proxy: ProxyProcess, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.server = server
        self.proxy = proxy
        self._chance = chance
        self._later: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        """The server itself has one trouble at a time."""

    @property
    def direct(self) -> str:
        """Around the proxy."""
        return self.server.address(DATABASE)

    def through(self, name: str) -> str:
        """Through the proxy, as the client of this name."""
        return f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{DATABASE}?application_name={name}"

    async def refresh(self) -> None:
        """Take over what the proxy has counted."""
        self.counts.update({what: count - self.counts[what] for what, count in (await self.proxy.counts()).items()})

    # --- the server -------------------------------------------------------------------------------------------

    async def crash(self) -> None:
        """Stopped at once, and started again: what was acknowledged is there, all connections are gone."""
        async with self._turn:
            await asyncio.to_thread(self.server.stop, "immediate")
            await asyncio.sleep(self._chance.uniform(0, 0.6))  # tidy: so long it is away
            await asyncio.to_thread(self.server.start)
        self.counts["crashes"] += 1

    async def go_away(self, lease_seconds: float) -> None:
        """For longer than any lease."""
        async with self._turn:
            await asyncio.to_thread(self.server.stop, self._chance.choice(["fast", "immediate"]))
            await asyncio.sleep(lease_seconds * self._chance.uniform(1.2, 1.8))  # tidy: so long it is away
            await asyncio.to_thread(self.server.start)
        self.counts["outages"] += 1

    async def fill(self, disk: SmallDisk) -> None:
        """The disk is full for a while: tables cannot grow, and sometimes the log cannot either, which is a crash."""
        async with self._turn:
            async with self._asking() as asked:
                await asyncio.to_thread(disk.fill)
                try:
                    if asked is not None and self._chance.random() < 0.5:
                        with contextlib.suppress(*AWAY):
                            for _ in range(5):
                                await asked.execute("SELECT pg_switch_wal()")  # until none is left to be used again
                                await asked.execute("SELECT txid_current()")
                    await asyncio.sleep(self._chance.uniform(0.5, 2))  # tidy: it is full for so long
                finally:
                    await asyncio.to_thread(disk.free)
            await self._revive()
        self.counts["full disks"] += 1

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncGenerator[asyncpg.Connection | None]:
        try:
            connection = await connect(self.direct)
        except AWAY:
            connection = None
        try:
            yield connection
        finally:
            if connection is not None:
                connection.terminate()

    async def _revive(self) -> None:
        """A server that could not recover on a full disk has ended, or takes nobody any more: it is started again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECOVERING_SECONDS):
                while True:
                    async with self._asking() as asked:
                        if asked is not None:
                            return
                    await asyncio.sleep(0.1)  # tidy: between two looks at another process
        self.counts["servers started anew after a full disk"] += 1
        await asyncio.to_thread(self.server.stop, "immediate")
        await asyncio.to_thread(self.server.start)

    # --- the way to it ----------------------------------------------------------------------------------------

    async def cut(self) -> None:
        """Some in the middle of a transaction, now and then all there are."""
        if self._chance.random() < 0.2:
            await self.proxy.tell("cut_all")
        else:
            await self.proxy.tell("cut_writing", self._chance.randint(1, 3))

    async def lose_replies(self) -> None:
        """Of commits: swallowed and cut, now and then swallowed in silence."""
        if self._chance.random() < 0.15:
            await self.proxy.tell("mute_replies", 1)
            self._forget_later()
        else:
            await self.proxy.tell("drop_replies", self._chance.randint(1, 2))

    async def fall_silent(self, name: str) -> None:
        """All connections of one, or of everybody, are half open."""
        await self.proxy.tell("silence", name)
        self._forget_later()

    def _forget_later(self) -> None:
        """Routers forget half-open connections some time; who still waits behind one then was waiting too long."""

        async def forget() -> None:
            await asyncio.sleep(SILENT_SECONDS)  # tidy: the router's time
            self.counts["half-open connections that nobody noticed"] += await self.proxy.tell("end_silence")

        forgetting = asyncio.create_task(forget())
        self._later.add(forgetting)
        forgetting.add_done_callback(self._later.discard)

    async def slow_down(self, name: str, seconds: float, delay: float) -> None:
        """One's network, or everybody's."""
        await self.proxy.tell("slow", delay, name)
        try:
            await asyncio.sleep(seconds)  # tidy: so long it is slow
        finally:
            await self.proxy.tell("slow", 0.0, name)
        self.counts["slow networks"] += 1

    def calm(self) -> None:
        """Nothing more comes of what was begun."""
        for forgetting in self._later:
            forgetting.cancel()

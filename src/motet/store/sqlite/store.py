"""The store protocol over two threads: one writes, one reads."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

from motet.errors import StoreMissing, StoreRefused
from motet.model.clock import Clock, Micros
from motet.model.delivery import DeliveryState
from motet.model.history import Recorded
from motet.model.run import Run, Version
from motet.store.mutations import Mutation
from motet.store.protocol import (
    AttemptTransaction,
    CursorRow,
    DeliveryFence,
    DeliveryFilter,
    Fence,
    Progress,
    Receipt,
    RunFence,
    Schemas,
    Subscription,
    Ticket,
    WorkerInfo,
    WorkerRow,
)  # fmt: skip
from motet.store.sqlite import claiming, delivering, finding, following, owning, reading
from motet.store.sqlite.answers import SqliteAnswers
from motet.store.sqlite.copying import copy
from motet.store.sqlite.health import findings
from motet.store.sqlite.hints import Hints
from motet.store.sqlite.place import check_place, check_program
from motet.store.sqlite.reading import Reader, Watcher
from motet.store.sqlite.retaining import SqliteRetaining
from motet.store.sqlite.schema import SCHEMA_VERSION, check_schema, found_version
from motet.store.sqlite.thread import CallThread
from motet.store.sqlite.transacting import SqliteTransaction, is_recorded, state_of
from motet.store.sqlite.writing import Writer
from motet.store.taking import Taken, with_histories

R = TypeVar("R")

CLOSING_SECONDS = 5.0


class SqliteStore(SqliteRetaining, SqliteAnswers):
    """One SQLite file. Opened once per process; a handle carried over a fork is refused."""

    shared = False
    identity: str | None = None

    def __init__(self, path: str, clock: Clock) -> None:
        self.address = f"sqlite:///{path}"
        # One name for one file, whatever links lead to it: the lock and the log beside it go by this name.
        self.path = os.path.realpath(path)
        self._clock = clock
        self._pid = os.getpid()
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._watcher: Watcher | None = None
        self._hints: Hints | None = None
        self._write_thread: CallThread | None = None
        self._read_thread: CallThread | None = None

    async def open(self, *, create: bool) -> None:
        if self._writer is not None:
            raise StoreRefused(f"store {self.path} is open already; a process opens a store once")
        check_program()
        check_place(self.path, create=create)
        self._pid = os.getpid()
        self._write_thread = CallThread("motet-store-write")
        self._read_thread = CallThread("motet-store-read")
        writer, reader, watcher = Writer(self.path, self._clock), Reader(self.path), Watcher(self.path)
        try:
            if create:
                await self._write_thread.call(writer.migrate)
            await self._read_thread.call(self._check_file, writer, reader)
            await self._read_thread.call(watcher.open)
        except BaseException:
            await self._let_go(writer, reader, watcher)
            raise
        self._writer, self._reader, self._watcher = writer, reader, watcher
        self._hints = Hints(self.path + "-wal")

    def _check_file(self, writer: Writer, reader: Reader) -> None:
        try:
            writer.expect_file()
        except FileNotFoundError:
            raise StoreMissing(f"there is no store at {self.path} any more") from None
        reader.within(lambda connection: check_schema(connection, self.path))

    async def schemas(self) -> Schemas:
        found = await asyncio.to_thread(found_version, self.path)
        return Schemas(found, SCHEMA_VERSION, found)

    async def close(self) -> None:
        if self._pid != os.getpid() or self._writer is None or self._reader is None or self._watcher is None:
            return
        writer, reader, watcher = self._writer, self._reader, self._watcher
        self._writer = self._reader = self._watcher = None
        if self._hints is not None:
            self._hints.close()
        await self._let_go(writer, reader, watcher)

    async def _let_go(self, writer: Writer, reader: Reader, watcher: Watcher) -> None:
        assert self._write_thread is not None and self._read_thread is not None
        try:
            # Another process may hold the writers' lock for long, stopped as it is; nothing is left to write here.
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._read_thread.call(watcher.close)
                await self._read_thread.call(reader.close)
                await self._write_thread.call(writer.close)
        except TimeoutError:
            return
        finally:
            self._write_thread.stop()
            self._read_thread.stop()
            self._write_thread = self._read_thread = None

    # --- writing and owning -----------------------------------------------------------------------------------

    async def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        writer, thread = self._write_side()
        return await thread.call(writer.commit, units, guard)

    async def committed(self, fence: Fence) -> bool:
        writer, thread = self._write_side()
        return await thread.call(writer.committed, fence)

    def step_transaction(self, fence: RunFence, *, blocking: bool = False) -> AttemptTransaction:
        self._check()
        return SqliteTransaction(self.path, fence)

    def delivery_transaction(self, fence: DeliveryFence, *, blocking: bool = False) -> AttemptTransaction:
        self._check()
        return SqliteTransaction(self.path, fence)

    async def delivery_state(self, fence: DeliveryFence, position: int) -> DeliveryState | None:
        return await self._write(partial(state_of, fence=fence, position=position))

    async def recorded(self, fact: Recorded) -> bool:
        return await self._write(partial(is_recorded, fact=fact))

    async def register(
        self, worker: WorkerInfo, catalog: dict[str, str], now: Micros, limits: Mapping[str, int | None] | None = None
    ) -> int:
        return await self._write(partial(owning.register, info=worker, catalog=catalog, now=now, limits=limits or {}))

    async def resign(self, worker: int) -> None:
        await self._write(partial(owning.resign, worker=worker))

    async def workers(self) -> list[WorkerRow]:
        return await self._read(owning.workers)

    async def beat(self, worker: int) -> bool:
        return await self._write(partial(owning.beat, worker=worker, now=self._clock.now()))

    async def drain(self, worker: int) -> None:
        await self._write(partial(owning.drain, worker=worker))

    async def bury(self, worker: int, counter: int) -> bool:
        now = self._clock.now()
        return await self._write(partial(owning.bury, worker=worker, counter=counter, now=now, path=self.path))

    async def claim(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> list[Run]:  # fmt: skip
        return await self._write(
            partial(
                claiming.claim, worker=worker, known=known, fingerprint=fingerprint, now=now, limit=limit, full=full
            )
        )

    async def take(
        self, worker: int, known: Sequence[Version], fingerprint: str, now: Micros, limit: int,
        full: Sequence[str] = (),
    ) -> Taken:  # fmt: skip
        return await with_histories(self, worker, await self.claim(worker, known, fingerprint, now, limit, full))

    async def owned(self, worker: int) -> list[Run]:
        return await self._read(partial(reading.owned, worker=worker))

    # --- following the log ------------------------------------------------------------------------------------

    async def subscribe(self, subscriptions: Sequence[Subscription], now: Micros) -> None:
        await self._write(partial(following.subscribe, subscriptions=subscriptions, now=now))

    async def claim_cursors(self, worker: int, names: Sequence[str]) -> list[CursorRow]:
        return await self._write(partial(following.claim, worker=worker, names=names))

    async def cursors(self) -> list[CursorRow]:
        return await self._read(following.cursors)

    async def head(self) -> int:
        return await self._read(following.head)

    async def place_of(self, start: Literal["now", "beginning"] | Micros) -> int:
        return await self._read(partial(following.place_of, start=start))

    async def recorded_behind(self, positions: Sequence[int]) -> dict[int, Micros]:
        return await self._read(partial(finding.recorded_behind, positions=positions))

    async def empty_outbox(self) -> int:
        return 0  # users' transactions write into the log itself

    # --- what is new ------------------------------------------------------------------------------------------

    async def changed(self) -> bool:
        # Asked very often: on a connection of its own, without a hop to the reading thread.
        self._check()
        assert self._watcher is not None
        if not self._watcher.is_open:
            _, thread = self._read_side()
            await thread.call(self._watcher.open)
        return self._watcher.changed()

    async def hint(self) -> bool:
        self._check()
        assert self._hints is not None
        return await self._hints.wait()

    # --- steering reactions -----------------------------------------------------------------------------------

    async def redrive(self, filter: DeliveryFilter, now: Micros) -> int:
        return await self._write(partial(delivering.redrive, filter=filter, now=now))

    async def discard(self, filter: DeliveryFilter) -> int:
        return await self._write(partial(delivering.discard, filter=filter))

    async def edit_delivery(self, reaction: str, position: int, data: str | None) -> bool:
        return await self._write(partial(delivering.edit, reaction=reaction, position=position, data=data))

    async def pause(self, reaction: str, paused: bool) -> bool:
        return await self._write(partial(delivering.pause, reaction=reaction, paused=paused))

    async def replay(self, reaction: str, position: int) -> bool:
        now = self._clock.now()
        return await self._write(partial(delivering.replay, reaction=reaction, position=position, now=now))

    async def forget_reaction(self, reaction: str) -> bool:
        return await self._write(partial(delivering.forget, reaction=reaction))

    # --- care -------------------------------------------------------------------------------------------------

    async def backup(self, path: str, progress: Progress | None = None) -> None:
        self._check()
        loop = asyncio.get_running_loop()

        def tell(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        thread = CallThread("motet-store-backup")  # of its own: a long copy holds up no other reading
        try:
            await thread.call(copy, self.path, path, tell)
        finally:
            thread.stop()

    async def findings(self) -> list[str]:
        return await self._read(partial(findings, path=self.path))

    # --- inside -----------------------------------------------------------------------------------------------

    async def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        writer, thread = self._write_side()
        return await thread.call(writer.within, work)

    async def _read(self, work: Callable[[sqlite3.Connection], R]) -> R:
        reader, thread = self._read_side()
        return await thread.call(reader.within, work)

    def _write_side(self) -> tuple[Writer, CallThread]:
        self._check()
        assert self._writer is not None and self._write_thread is not None
        return self._writer, self._write_thread

    def _read_side(self) -> tuple[Reader, CallThread]:
        self._check()
        assert self._reader is not None and self._read_thread is not None
        return self._reader, self._read_thread

    def _check(self) -> None:
        if self._pid != os.getpid():
            raise StoreRefused(
                f"store {self.path} was opened before a fork and cannot be used in the child; "
                "open it after the fork: async with app.worker() or app.connect()"
            )
        if self._writer is None:
            raise StoreRefused(f"store {self.path} is closed")

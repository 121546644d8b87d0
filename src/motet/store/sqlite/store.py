"""The store protocol over two threads: one writes, one reads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from motet.errors import StoreRefused
from motet.model.clock import Clock, Micros
from motet.model.history import Recorded
from motet.model.run import Run
from motet.store.mutations import Mutation, PutInbox
from motet.store.protocol import Fence, Prospect, Receipt, RunFilter, WorkerInfo, WorkerRow
from motet.store.sqlite import connection as files
from motet.store.sqlite import owning, reading
from motet.store.sqlite.reading import Reader
from motet.store.sqlite.thread import CallThread
from motet.store.sqlite.writing import Writer

R = TypeVar("R")


class SqliteStore:
    """One SQLite file. Opened once per process; a handle carried over a fork is refused."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self.address = f"sqlite:///{path}"
        self._clock = clock
        self._pid = os.getpid()
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._watcher: Reader | None = None
        self._write_thread: CallThread | None = None
        self._read_thread: CallThread | None = None

    async def open(self, *, create: bool) -> None:
        files.check_place(self.path, create=create)
        self._pid = os.getpid()
        self._write_thread = CallThread("motet-store-write")
        self._read_thread = CallThread("motet-store-read")
        try:
            await self._write_thread.call(self._open, create)
        except BaseException:
            self._stop_threads()
            raise

    def _open(self, create: bool) -> None:
        self._writer = Writer(self.path, self._clock)
        self._reader = Reader(self.path)
        self._watcher = Reader(self.path)
        if create:
            self._writer.create_schema()
        else:
            self._reader.within(lambda connection: files.check_schema(connection, self.path))

    async def close(self) -> None:
        if self._pid != os.getpid() or self._write_thread is None or self._read_thread is None:
            return
        if self._reader is not None:
            await self._read_thread.call(self._reader.close)
        if self._watcher is not None:
            self._watcher.close()
        if self._writer is not None:
            await self._write_thread.call(self._writer.close)
        self._stop_threads()
        self._reader = self._writer = self._watcher = None

    def _stop_threads(self) -> None:
        for thread in (self._write_thread, self._read_thread):
            if thread is not None:
                thread.stop()
        self._write_thread = self._read_thread = None

    # --- writing and owning -----------------------------------------------------------------------------------

    async def commit(self, units: Sequence[list[Mutation]], fence: Fence | None) -> Receipt:
        writer, thread = self._write_side()
        return await thread.call(writer.commit, units, fence)

    async def committed(self, fence: Fence) -> bool:
        writer, thread = self._write_side()
        return await thread.call(writer.committed, fence)

    async def register(self, worker: WorkerInfo, catalog: dict[str, str], now: Micros) -> int:
        return await self._write(partial(owning.register, info=worker, catalog=catalog, now=now))

    async def resign(self, worker: int) -> None:
        await self._write(partial(owning.resign, worker=worker))

    async def workers(self) -> list[WorkerRow]:
        return await self._read(owning.workers)

    async def bury(self, worker: int, batch: int) -> bool:
        return await self._write(partial(owning.bury, worker=worker, batch=batch))

    async def claim(self, worker: int, known: Sequence[str], fingerprint: str, now: Micros, limit: int) -> list[Run]:
        return await self._write(
            partial(owning.claim, worker=worker, known=known, fingerprint=fingerprint, now=now, limit=limit)
        )

    # --- reading ----------------------------------------------------------------------------------------------

    async def run(self, id: str) -> Run | None:
        return await self._read(partial(reading.run, id=id))

    async def runs(self, filter: RunFilter) -> list[Run]:
        return await self._read(partial(reading.runs, filter=filter))

    async def outcomes(self, uids: Sequence[str]) -> list[Run]:
        return await self._read(partial(reading.outcomes, uids=uids))

    async def histories(self, runs: Sequence[tuple[str, int]]) -> dict[str, list[Recorded]]:
        return await self._read(partial(reading.histories, runs=runs))

    async def inbox(self, worker: int) -> list[PutInbox]:
        return await self._read(partial(reading.inbox, worker=worker))

    async def catalog(self, workflow: str, version: int) -> str | None:
        return await self._read(partial(reading.catalog, workflow=workflow, version=version))

    async def prospect(self, worker: int, known: Sequence[str], fingerprint: str, now: Micros) -> Prospect:
        return await self._read(
            partial(reading.prospect, worker=worker, known=known, fingerprint=fingerprint, now=now)
        )

    async def counts(self) -> dict[str, int]:
        return await self._read(reading.counts)

    async def changed(self) -> bool:
        # Asked every few milliseconds: on a connection of its own, without a hop to the reading thread.
        self._check()
        assert self._watcher is not None
        return self._watcher.changed()

    # --- care -------------------------------------------------------------------------------------------------

    async def backup(self, path: str) -> None:
        if os.path.exists(path):
            raise StoreRefused(f"{path} exists; a backup never overwrites, choose another name")
        part = path + ".part"

        def copy(source: sqlite3.Connection) -> None:
            target = sqlite3.connect(part)
            try:
                source.backup(target, pages=4096)
            finally:
                target.close()
            os.replace(part, path)

        await self._read(copy)

    async def findings(self) -> list[str]:
        return await self._read(files.findings)

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

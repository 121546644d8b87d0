"""Committing a batch: one transaction under the writers' lock, guarded by the worker's fence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from motet.errors import LeaseLost, StoreRejected
from motet.model.clock import Clock
from motet.model.event import EventRow
from motet.model.run import Run
from motet.store.mutations import KINDS, AppendEvent, Mutation, StartRun
from motet.store.protocol import Fence, Receipt
from motet.store.sqlite.connection import connect, create_schema, unavailable
from motet.store.sqlite.lock import FileLock
from motet.store.sqlite.statements import apply

R = TypeVar("R")

CHECKPOINT_BYTES = 16 * 1024 * 1024
_NO_LOSERS = Receipt({})
_BAD_DATA = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, UnicodeEncodeError)  # fmt: skip


class Writer:
    """The only one that writes to the file; lives in one thread."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file_lock: FileLock | None = None  # opened when first needed: who only reads leaves no file behind
        self._connection: sqlite3.Connection | None = None
        self._checkpoint_at = CHECKPOINT_BYTES

    def close(self) -> None:
        """Bring the log into the file, then let go of it."""
        if self._connection is not None:
            with self._lock:
                self._checkpoint("TRUNCATE")
            self._connection.close()
            self._connection = None
        if self._file_lock is not None:
            self._file_lock.close()

    def create_schema(self) -> None:
        """Create the tables, or check that they are ours. Raises StoreRefused."""
        with self._lock:
            create_schema(self._open(), self._path)

    @property
    def _lock(self) -> FileLock:
        if self._file_lock is None:
            self._file_lock = FileLock(self._path + "-lock")
        return self._file_lock

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction under the lock. Raises StoreUnavailable or StoreRejected; nothing is half done."""
        with self._lock:
            connection = self._open()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                raise self._translate(error) from error
            self._checkpoint_if_due()

    def within(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run work inside a transaction."""
        with self.transaction() as connection:
            return work(connection)

    def commit(self, units: Sequence[list[Mutation]], fence: Fence | None) -> Receipt:
        by_kind: dict[type, list[Any]] = {}
        for unit in units:
            for mutation in unit:
                kind = type(mutation)
                rows = by_kind.get(kind)
                if rows is None:
                    by_kind[kind] = [mutation]
                else:
                    rows.append(mutation)
        with self.transaction() as connection:
            if fence is not None:
                self._advance(connection, fence)
            receipt = _NO_LOSERS
            for kind in KINDS:
                rows = by_kind.get(kind)
                if rows is None:
                    continue
                if kind is AppendEvent and fence is None:
                    rows = _new_events(connection, rows)
                changed = apply(connection, kind, rows)
                if kind is StartRun and changed < len(rows):
                    receipt = _losers(connection, rows)
        return receipt

    def committed(self, fence: Fence) -> bool:
        """Read the receipt under the lock."""
        with self.transaction() as connection:
            row = connection.execute("SELECT batch, buried FROM worker WHERE id = ?", (fence.worker,)).fetchone()
        if row is None or (row[1] and row[0] < fence.batch):
            raise LeaseLost(f"worker {fence.worker} has been declared dead")
        return bool(row[0] >= fence.batch)

    def _advance(self, connection: sqlite3.Connection, fence: Fence) -> None:
        held = connection.execute(
            "UPDATE worker SET batch = ?, seen_at = ? WHERE id = ? AND buried = 0 AND batch = ?",
            (fence.batch, self._clock.now(), fence.worker, fence.batch - 1),
        ).rowcount
        if not held:
            raise LeaseLost(f"worker {fence.worker} has been declared dead; its runs belong to others")

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
        return self._connection

    def _roll_back(self) -> None:
        """Whatever state the connection is in, the next transaction begins on a sound one."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection = None
            connection.close()

    def _translate(self, error: BaseException) -> BaseException:
        if isinstance(error, _BAD_DATA):
            return StoreRejected(f"store {self._path} refuses a record: {error}")
        if isinstance(error, sqlite3.Error):
            return unavailable(self._path, error)
        return error

    def _checkpoint_if_due(self) -> None:
        try:
            size = os.stat(self._path + "-wal").st_size
        except OSError:
            return
        if size >= self._checkpoint_at:
            self._checkpoint("TRUNCATE" if self._checkpoint("PASSIVE") else "PASSIVE")
            left = os.stat(self._path + "-wal").st_size
            self._checkpoint_at = left + CHECKPOINT_BYTES

    def _checkpoint(self, mode: str) -> bool:
        """Whether all of the log is in the file. A failure is no loss: the log stays, and is tried again."""
        assert self._connection is not None
        try:
            self._connection.execute("PRAGMA busy_timeout = 50")
            busy, pages, moved = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            self._connection.execute("PRAGMA busy_timeout = 5000")
        except sqlite3.Error:
            return False
        return not busy and bool(pages == moved)


def _new_events(connection: sqlite3.Connection, events: Sequence[EventRow]) -> list[EventRow]:
    """Without a fence there is no receipt: a batch that is written again would double its events, so they are
    looked up among the latest of the log."""
    latest = connection.execute("SELECT coalesce(max(position), 0) - 10000 FROM event").fetchone()[0]
    ids = [event.id for event in events]
    marks = ", ".join("?" * len(ids))
    query = f"SELECT id FROM event WHERE position > ? AND id IN ({marks})"
    known = {row[0] for row in connection.execute(query, [latest, *ids])}
    return [event for event in events if event.id not in known]


def _losers(connection: sqlite3.Connection, starts: Sequence[Run]) -> Receipt:
    """For each start that lost against an earlier run with its id: that run. A start written again is no loser."""
    lost: dict[str, Run] = {}
    columns = ", ".join(f"run.{name}" for name in Run._fields)
    for index in range(0, len(starts), 500):
        chunk = starts[index : index + 500]
        by_id = {start.id: start.uid for start in chunk}
        marks = ", ".join("?" * len(by_id))
        for row in connection.execute(f"SELECT {columns} FROM run WHERE id IN ({marks})", list(by_id)):
            winner = Run(*row)
            for start in chunk:
                if start.id == winner.id and start.uid != winner.uid:
                    lost[start.uid] = winner
    return Receipt(lost)

"""Committing a batch: one transaction under the writers' lock, guarded by the worker's fence or the client's ticket."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from motet.errors import LeaseLost, StoreError, StoreRejected, StoreUnavailable
from motet.model.clock import Clock
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation, StartRun
from motet.store.protocol import Fence, Receipt, Ticket
from motet.store.sqlite.applying import apply_batch, retold
from motet.store.sqlite.connection import (
    BUSY_SECONDS,
    UnreadableText,
    broken_text_marked,
    connect,
    unavailable,
)  # fmt: skip
from motet.store.sqlite.lock import FileLock
from motet.store.sqlite.place import identity
from motet.store.sqlite.schema import check_unchanged, migrate

R = TypeVar("R")

CHECKPOINT_BYTES = 16 * 1024 * 1024
CHECKPOINT_PATIENCE_MS = 50
SCRUB_PATIENCE_MS = 5_000
TICKETS_KEPT = 10_000
_BAD_DATA = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError,
    UnicodeEncodeError,
)  # fmt: skip


class Writer:
    """The only one of its process that writes to the file; lives in one thread."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = FileLock(path + "-lock")  # opened when first needed: who only reads leaves no file behind
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._checkpoint_at = CHECKPOINT_BYTES

    def close(self) -> None:
        """Bring the log into the file, then let go of it."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                with self._lock:
                    self._checkpoint(connection, "TRUNCATE")
                    connection.close()
        except (OSError, sqlite3.Error):  # nothing is lost: what is in the log stays there
            return
        finally:
            self._lock.close()

    def expect_file(self) -> None:
        """From now on write to the file that is there now, and to no other. Raises OSError."""
        self._file = identity(self._path)

    def migrate(self) -> None:
        """Create the tables, or bring them up to date. Raises StoreRefused, StoreUnavailable."""
        try:
            with self._lock:
                connection = connect(self._path)
                try:
                    migrate(connection, self._path)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
                self.expect_file()
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """One transaction under the lock. Raises StoreError; nothing is half done."""
        try:
            with self._lock:
                connection = self._open()
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    check_unchanged(connection, self._path)
                    yield connection
                    connection.execute("COMMIT")
                except BaseException as error:
                    self._roll_back(connection, error)
                    raise
                self._checkpoint_if_due(connection)
        except StoreError:
            raise
        except _BAD_DATA as error:
            raise StoreRejected(f"store {self._path} refuses a record: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    def within(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run work inside a transaction."""
        try:
            with self.transaction() as connection:
                return work(connection)
        except UnreadableText:
            with self.transaction() as connection, broken_text_marked(connection):
                return work(connection)

    def compact(self) -> Mapping[str, int]:
        """Write the whole file anew without its free space; others wait meanwhile. Raises StoreError."""
        try:
            with self._lock:
                connection = self._open()
                self._checkpoint(connection, "TRUNCATE")
                before = os.stat(self._path).st_size
                connection.execute("VACUUM")
                self._checkpoint(connection, "TRUNCATE")
                return {"before": before, "after": os.stat(self._path).st_size}
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    def scrub(self) -> bool:
        """Have nothing in the log beside the file; False: a reader is still at an earlier state. Raises StoreError."""
        try:
            with self._lock:
                return self._checkpoint(self._open(), "TRUNCATE", SCRUB_PATIENCE_MS)
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    def commit(self, units: Sequence[list[Mutation]], guard: Fence | Ticket | None) -> Receipt:
        by_kind = sorted_by_kind(units)
        with self.transaction() as connection:
            if isinstance(guard, Fence):
                self._advance(connection, guard)
            elif guard is not None and not _take_ticket(connection, guard):
                return retold(connection, by_kind.get(StartRun, []))
            return apply_batch(connection, by_kind, self._path)

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

    # --- the connection ---------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        """The caller holds the lock. Raises StoreUnavailable: the file is gone, or not the one that was opened."""
        try:
            there = identity(self._path)
        except FileNotFoundError:
            there = None
        if self._file is None:
            self._file = there
        if there is None or there != self._file:
            raise StoreUnavailable(
                f"store {self._path} has been {'removed' if there is None else 'replaced by another file'} since it "
                "was opened; put it back, or restart this process to use what is there now"
            )
        if self._connection is None:
            self._connection = connect(self._path, create=False)
        return self._connection

    def _roll_back(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Whatever state the connection is in, the next transaction begins on a sound one."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        sound = (
            not isinstance(error, sqlite3.Error)
            or isinstance(error, _BAD_DATA)
            or code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL)
        )
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            sound = False
        if not sound:
            self._connection = None
            connection.close()

    def _checkpoint_if_due(self, connection: sqlite3.Connection) -> None:
        """The transaction is committed: whatever happens here is no news of it."""
        with suppress(OSError):
            if os.stat(self._path + "-wal").st_size >= self._checkpoint_at:
                whole = self._checkpoint(connection, "PASSIVE")
                self._checkpoint(connection, "TRUNCATE" if whole else "PASSIVE")
                self._checkpoint_at = os.stat(self._path + "-wal").st_size + CHECKPOINT_BYTES

    def _checkpoint(self, connection: sqlite3.Connection, mode: str, patience: int = CHECKPOINT_PATIENCE_MS) -> bool:
        """Whether all of the log is in the file. A failure is no loss: the log stays, and is tried again."""
        try:
            connection.execute(f"PRAGMA busy_timeout = {patience}")
            busy, pages, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")
        except sqlite3.Error:
            self._connection = None  # it may have lost its patience for good: begin with a fresh one
            connection.close()
            return False
        return not busy and bool(pages == moved)


def _take_ticket(connection: sqlite3.Connection, ticket: Ticket) -> bool:
    """Whether this ticket is seen for the first time."""
    cursor = connection.execute("INSERT INTO ticket (id) VALUES (?) ON CONFLICT DO NOTHING", (ticket.id,))
    if not cursor.rowcount:
        return False
    assert cursor.lastrowid is not None
    connection.execute("DELETE FROM ticket WHERE number <= ?", (cursor.lastrowid - TICKETS_KEPT,))
    return True

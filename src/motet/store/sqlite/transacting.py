"""A transaction of the user's function, a step or a reaction's handler: what it writes and the record of its success
are one fact.

It stands in the writers' line like a batch, and the line waits while the function runs. One thread makes the calls, the
function may use the connection in another. Who holds the lock cannot be overtaken, so it is enough to ask once, at the
beginning, whether the run or reaction is still this worker's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import suppress

from motet.errors import LeaseLost, StoreRejected, WrongPlace
from motet.model.delivery import DeliveryState
from motet.model.history import Recorded
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation
from motet.store.sqlite.applying import apply_batch
from motet.store.sqlite.connection import connect, unavailable
from motet.store.sqlite.lock import FileLock
from motet.store.sqlite.schema import check_unchanged
from motet.store.sqlite.thread import CallThread
from motet.store.transactions import DeliveryFence, RunFence

INTERRUPT_SECONDS = 0.05
_RUN_OWNED = """SELECT 1 FROM run JOIN worker ON worker.id = run.owner
    WHERE run.uid = ? AND run.epoch = ? AND run.owner = ? AND worker.buried = 0"""
_REACTION_OWNED = """SELECT 1 FROM cursor JOIN worker ON worker.id = cursor.owner
    WHERE cursor.name = ? AND cursor.epoch = ? AND cursor.owner = ? AND worker.buried = 0"""
_STATE = "SELECT state FROM delivery WHERE reaction = ? AND position = ?"
_BAD_RECORD = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError)
_OUTAGES = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
)  # fmt: skip


class SqliteTransaction:
    """See `motet.store.transactions`."""

    def __init__(self, path: str, fence: RunFence | DeliveryFence) -> None:
        self._path = path
        self._fence = fence
        self._lock = FileLock(path + "-lock")
        self._connection: sqlite3.Connection | None = None
        self._thread: CallThread | None = None
        self._committing = False

    async def begin(self) -> sqlite3.Connection:
        self._thread = CallThread("motet-transaction")
        return await self._thread.call(self._begin)

    async def commit(self, unit: list[Mutation]) -> None:
        assert self._thread is not None
        self._committing = True
        await self._thread.call(self._commit, unit)

    async def roll_back(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        letting_go = thread.submit(self._let_go)  # at once: a lock that a cancelled task holds would never be free
        try:
            while not (await asyncio.wait([letting_go], timeout=INTERRUPT_SECONDS))[0]:
                connection = self._connection
                if connection is not None and not self._committing:
                    with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                        connection.interrupt()  # a statement of a function that nobody waits for any more
        finally:
            thread.stop()

    def is_outage(self, error: BaseException) -> bool:
        for one in _behind(error):
            code = getattr(one, "sqlite_errorcode", None)
            if isinstance(one, sqlite3.Error) and code is not None and code & 0xFF in _OUTAGES:
                return True
        return False

    @property
    def _who(self) -> str:
        fence = self._fence
        return (
            f"the handler of {fence.reaction}" if isinstance(fence, DeliveryFence) else "the function of a transaction"
        )

    # --- in the thread ----------------------------------------------------------------------------------------

    def _begin(self) -> sqlite3.Connection:
        try:
            self._lock.__enter__()
            connection = self._connection = connect(self._path, create=False)
            connection.execute("BEGIN IMMEDIATE")
            check_unchanged(connection, self._path)
            self._check_owned(connection)
        except BaseException as error:
            self._let_go()
            if isinstance(error, sqlite3.Error | OSError):
                raise unavailable(self._path, error) from error
            raise
        return connection

    def _check_owned(self, connection: sqlite3.Connection) -> None:
        if isinstance(self._fence, DeliveryFence):
            check_owned(connection, self._fence)
        elif connection.execute(_RUN_OWNED, self._fence).fetchone() is None:
            raise LeaseLost(f"run {self._fence.uid} belongs to another worker")

    def _commit(self, unit: list[Mutation]) -> None:
        connection = self._connection
        assert connection is not None
        try:
            if not connection.in_transaction:
                raise WrongPlace(f"{self._who} has committed or rolled back by itself; leave that to Motet")
            connection.row_factory, connection.text_factory = None, str
            try:
                apply_batch(connection, sorted_by_kind([unit]), self._path)
            except _BAD_RECORD as error:
                raise StoreRejected(f"store {self._path} refuses a record: {error}") from error
            connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise  # by what the function has written: a constraint that is checked at the end
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Take back what was not committed, and have the function find the connection useless, should it go on."""
        connection = self._connection
        try:
            if connection is not None:
                try:
                    connection.execute("PRAGMA query_only = ON")  # it must not write on its own behind the ROLLBACK
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                finally:
                    connection.close()
        except sqlite3.Error:  # closed by the function: then it is rolled back, too
            return
        finally:
            self._connection = None
            self._lock.close()


def check_owned(connection: sqlite3.Connection, fence: DeliveryFence) -> None:
    """Raises LeaseLost."""
    if connection.execute(_REACTION_OWNED, fence).fetchone() is None:
        raise LeaseLost(f"reaction {fence.reaction} has changed hands")


def state_of(connection: sqlite3.Connection, fence: DeliveryFence, position: int) -> DeliveryState | None:
    """What the delivery's row says. Under the writers' lock: nothing is under way. Raises LeaseLost."""
    check_owned(connection, fence)
    row: tuple[DeliveryState] | None = connection.execute(_STATE, (fence.reaction, position)).fetchone()
    return row[0] if row is not None else None


def is_recorded(connection: sqlite3.Connection, fact: Recorded) -> bool:
    """Whether the very row is there. Under the writers' lock: nothing is under way."""
    same = " AND ".join(f"{name} IS ?" for name in Recorded._fields)
    return connection.execute(f"SELECT 1 FROM history WHERE {same}", fact).fetchone() is not None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it comes from, however its function has dressed it."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__

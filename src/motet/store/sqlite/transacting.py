"""A delivery's own transaction: what the handler writes and that the delivery is done are one fact."""

from __future__ import annotations

import sqlite3

from motet.errors import LeaseLost, StoreError, StoreRejected, WrongPlace
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation
from motet.store.sqlite.applying import apply_batch
from motet.store.sqlite.connection import connect, unavailable
from motet.store.sqlite.lock import FileLock
from motet.store.sqlite.schema import check_unchanged

_OWNED = """SELECT 1 FROM cursor JOIN worker ON worker.id = cursor.owner
    WHERE cursor.name = ? AND cursor.epoch = ? AND cursor.owner = ? AND worker.buried = 0"""


class Transaction:
    """Stands in the writers' line like a batch; the line waits while the handler runs."""

    def __init__(self, path: str, reaction: str, epoch: int, worker: int) -> None:
        self._path = path
        self._reaction = reaction
        self._fence = (reaction, epoch, worker)
        self._lock = FileLock(path + "-lock")
        self._connection: sqlite3.Connection | None = None

    def begin(self) -> sqlite3.Connection:
        """Raises LeaseLost, StoreError."""
        self._lock.__enter__()
        try:
            self._connection = connection = connect(self._path, create=False)
            connection.execute("BEGIN IMMEDIATE")
            check_unchanged(connection, self._path)
            self._check_owned(connection)
        except BaseException as error:
            self.roll_back()
            if isinstance(error, sqlite3.Error):
                raise unavailable(self._path, error) from error
            raise
        return connection

    def _check_owned(self, connection: sqlite3.Connection) -> None:
        if connection.execute(_OWNED, self._fence).fetchone() is None:
            raise LeaseLost(f"reaction {self._reaction} has changed hands")

    def commit(self, unit: list[Mutation]) -> None:
        """Raises WrongPlace: the handler has ended the transaction itself; StoreError."""
        connection = self._connection
        assert connection is not None
        try:
            if not connection.in_transaction:
                raise WrongPlace(
                    f"the handler of {self._reaction} has committed or rolled back by itself; leave that to Motet"
                )
            connection.row_factory, connection.text_factory = None, str
            apply_batch(connection, sorted_by_kind([unit]), self._path)
            connection.execute("COMMIT")
        except StoreError:
            raise
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError) as error:
            raise StoreRejected(f"store {self._path} refuses a record: {error}") from error
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
        finally:
            self.roll_back()

    def roll_back(self) -> None:
        """Closing the connection takes back what was not committed."""
        connection, self._connection = self._connection, None
        if connection is None:
            self._lock.close()
            return
        try:
            connection.close()
        finally:
            self._lock.close()

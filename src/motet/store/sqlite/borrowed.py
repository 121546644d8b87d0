"""Writing through a connection that is the user's, inside the user's transaction.

It goes around the writers' lock, which only keeps our own processes in line: the database's own lock decides, and
who commits is the user. A failure of ours takes back what is ours and leaves the user's transaction as it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress

from motet.errors import StoreRejected, WrongPlace, WrongType
from motet.model.clock import SYSTEM
from motet.model.keyring import Keyring
from motet.store.batches import sorted_by_kind
from motet.store.mutations import Mutation
from motet.store.protocol import Receipt
from motet.store.sealing import check_keys
from motet.store.sqlite.applying import apply_batch
from motet.store.sqlite.connection import unavailable
from motet.store.sqlite.payloads import note_key, sealing
from motet.store.sqlite.schema import check_schema


def write_within(
    connection: object, path: str, unit: list[Mutation], keys: Keyring | None = None
) -> Receipt:  # fmt: skip
    """Apply the unit inside the transaction of a connection.

    Args:
        keys: those that its payloads are sealed with.

    Raises:
        WrongType: no connection of `sqlite3`.
        WrongPlace: one to another database; or one that commits each statement by itself and has no transaction.
        StoreRejected: a record can never be stored.
        StoreMissing, StoreRefused: the file holds no tables of ours, or those of another version.
        StoreUnavailable: somebody else writes, and has not finished in the time that the connection waits.
    """
    if not isinstance(connection, sqlite3.Connection):
        raise WrongType(
            f"conn is a {type(connection).__name__}; give the sqlite3.Connection itself (with SQLAlchemy: "
            "session.connection().connection.driver_connection)"
        )
    try:
        with _borrowed(connection):
            _check_file(connection, path)
            _begin(connection)
            check_schema(connection, path)
            check_keys(sealing(connection), keys, path)
            if keys is not None and keys.current is not None:
                note_key(connection, keys.current, keys.proof(keys.current), SYSTEM.now())
            return _apply(connection, path, unit)
    except sqlite3.ProgrammingError as error:  # of another thread, or closed
        raise WrongPlace(f"conn cannot be used here: {error}") from error
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError) as error:
        raise StoreRejected(f"store {path} refuses a record: {error}") from error
    except sqlite3.Error as error:
        raise unavailable(path, error) from error


@contextmanager
def _borrowed(connection: sqlite3.Connection) -> Generator[None]:
    """While it is ours, rows are tuples and text is text, whatever its user has made of them."""
    rows, texts = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = rows, texts


def _check_file(connection: sqlite3.Connection, path: str) -> None:
    file = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    if not file or not os.path.exists(path) or not os.path.samefile(file, path):
        raise WrongPlace(
            f"conn is a connection to {file or 'a database in memory'}, and the store is {path}; what is to be one "
            "transaction must be in one database: open the store's file, or publish without conn="
        )


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # checkpoints are made under the writers' lock only
    if connection.in_transaction:
        # Take the turn to write before anything is read: who has read first, as a plain BEGIN lets them, and finds that
        # others have written meanwhile, is refused instead of waiting.
        with suppress(sqlite3.OperationalError):  # no store there, or another's turn for too long: said by what follows
            connection.execute("UPDATE schema SET version = version WHERE 0")
        return
    if connection.isolation_level is None:
        raise WrongPlace(
            "conn commits each statement by itself and has no transaction now; begin one first: "
            'conn.execute("BEGIN IMMEDIATE")'
        )
    connection.execute("BEGIN IMMEDIATE")  # as sqlite3 would do by itself before the first INSERT


def _apply(connection: sqlite3.Connection, path: str, unit: list[Mutation]) -> Receipt:
    connection.execute("SAVEPOINT motet")
    try:
        receipt = apply_batch(connection, sorted_by_kind([unit]), path)
    except BaseException:
        connection.execute("ROLLBACK TO motet")
        raise
    finally:
        connection.execute("RELEASE motet")
    return receipt

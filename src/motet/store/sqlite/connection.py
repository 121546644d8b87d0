"""Opening the file: what is asked of SQLite, and what its errors mean to us.

`synchronous=FULL` because with NORMAL a commit "succeeds" although its fsync failed or never ran. No automatic
checkpoints: they are made under the writers' lock only. (The last connection to close makes one too; SQLite takes
the whole file for itself then, so that nobody can be writing.)
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import quote

from motet.errors import StoreRefused, StoreUnavailable

BUSY_SECONDS = 5.0
WRITER_CACHE_KIB = 16 * 1024
READER_CACHE_KIB = 4 * 1024
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


class UnreadableText(StoreUnavailable):
    """A row holds bytes that are no UTF-8. Read again with `broken_text_marked`."""


def connect(
    path: str, *, create: bool = True, readonly: bool = False, patience: float | None = None
) -> sqlite3.Connection:
    """A connection with the settings that our promises rest on.

    Args:
        create: make the file if there is none. Who reads never does.
        readonly: refuse to write.
        patience: how many seconds to wait for a stranger's lock; by default BUSY_SECONDS.

    Raises:
        StoreRefused: no database of SQLite, or in a place where WAL does not work.
        StoreUnavailable: anything else.
    """
    mode = "rwc" if create and not readonly else "rw"
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode={mode}", uri=True, timeout=BUSY_SECONDS if patience is None else patience,
            isolation_level=None, check_same_thread=False, cached_statements=1024,
        )  # fmt: skip
        if readonly:
            connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
            connection.execute("PRAGMA query_only = ON")
        else:
            _prepare_for_writing(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise unavailable(path, error) from error
        raise
    return connection


def _prepare_for_writing(connection: sqlite3.Connection, path: str) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreRefused(f"{path} cannot be used in WAL mode (only {mode}); put the store on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: without it an fsync does not reach the disk
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")


def unavailable(path: str, error: Exception) -> StoreUnavailable | StoreRefused:
    """What an error of SQLite or of the operating system means to us."""
    if isinstance(error, OSError):
        return _refused_by_system(path, error)
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary == sqlite3.SQLITE_NOTADB:
        return StoreRefused(f"{path} is not a SQLite database; choose another path for the store")
    if primary == sqlite3.SQLITE_READONLY:
        return StoreRefused(f"store {path} cannot be written ({error}); give this user the right to write to it")
    if "decode to UTF-8" in str(error):
        return UnreadableText(f"store {path} holds a text that is no UTF-8: {error}")
    name = getattr(error, "sqlite_errorname", None)
    return StoreUnavailable(f"store {path} does not answer: {error}" + (f" ({name})" if name else ""))


def _refused_by_system(path: str, error: OSError) -> StoreUnavailable | StoreRefused:
    if error.errno in _NO_LOCKS:
        return StoreRefused(f"{path} is on a file system that knows no locks ({error}); put the store on a local disk")
    if error.errno in _NOT_ALLOWED:
        return StoreRefused(
            f"store {path} cannot be written: {error}; give this user the right to write to it and to its folder"
        )
    return StoreUnavailable(f"store {path} does not answer: {error}")


@contextmanager
def broken_text_marked(connection: sqlite3.Connection) -> Generator[None]:
    """Read bytes that are no UTF-8 all the same, with a mark in front: so that the one run whose row is broken can
    be parked, as its JSON is none any more, and all others go on."""
    connection.text_factory = _marked
    try:
        yield
    finally:
        connection.text_factory = str


def _marked(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\ufffd" + data.decode(errors="replace")

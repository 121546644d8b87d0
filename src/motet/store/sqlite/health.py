"""What is wrong or risky with a store's file and with SQLite itself, for `motet doctor`."""

from __future__ import annotations

import os
import sqlite3

FIRST_SAFE_WAL = (3, 51, 3)
LARGE_LOG_BYTES = 256 * 1024 * 1024


def findings(connection: sqlite3.Connection, path: str) -> list[str]:
    """In words, with the way out; empty when all is well."""
    found: list[str] = []
    if sqlite3.sqlite_version_info < FIRST_SAFE_WAL:
        found.append(
            f"SQLite {sqlite3.sqlite_version} can corrupt a file when checkpoints race with writers (fixed in "
            f"{'.'.join(map(str, FIRST_SAFE_WAL))}); Motet takes turns by a lock, but let no other program write to "
            "the store"
        )
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        found.append(f"journal mode is {mode}, not wal: another program has changed it; the next worker sets it back")
    names = os.stat(path).st_nlink
    if names > 1:
        found.append(f"the file has {names} names (hard links); open it by one of them only, for the log goes by name")
    try:
        log = os.stat(path + "-wal").st_size
    except FileNotFoundError:
        log = 0
    if log > LARGE_LOG_BYTES:
        found.append(
            f"the log beside the file has grown to {log // 1024**2:,} MiB: some program has been reading for a long "
            "time, or the disk is full; the file is safe, reads get slower"
        )
    return found + [f"integrity: {text}" for text in _damage(connection)]


def _damage(connection: sqlite3.Connection) -> list[str]:
    found: list[str] = []
    try:
        found += [text for (text,) in connection.execute("PRAGMA integrity_check(20)") if text != "ok"]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        found.append(f"{error}: so badly that the check could not go through all of it")
    return found

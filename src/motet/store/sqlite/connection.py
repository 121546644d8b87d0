"""Opening the file: what is asked of SQLite, and where it is refused.

`synchronous=FULL` because with NORMAL a commit "succeeds" although its fsync failed or never ran. No automatic
checkpoints: they are made under the writers' lock only.
"""

from __future__ import annotations

import os
import sqlite3
from importlib import resources

from motet.errors import StoreMissing, StoreRefused, StoreUnavailable

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
FIRST_SAFE_WAL = (3, 51, 3)
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs",
     "lustre", "beegfs", "9p", "davfs", "fuse.s3fs", "fuse.rclone", "ncpfs", "ocfs2", "gfs2"}
)  # fmt: skip


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection with the settings that our promises rest on. Raises StoreUnavailable."""
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA cache_size = -65536")
        if readonly:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.DatabaseError as error:
        raise unavailable(path, error) from error
    return connection


def unavailable(path: str, error: Exception) -> StoreUnavailable | StoreRefused:
    """What an error of SQLite means to us."""
    text = str(error)
    if "not a database" in text:
        return StoreRefused(f"{path} is not a SQLite database; choose another path for the store")
    return StoreUnavailable(f"store {path} does not answer: {text}")


def check_place(path: str, *, create: bool) -> None:
    """Raises StoreMissing, StoreRefused: the file or its folder is missing, or on a network file system."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise StoreMissing(f"there is no folder {folder} for the store; create it, or set MOTET_STORE to another place")
    if not create and not os.path.exists(path):
        raise StoreMissing(
            f"there is no store at {path}; start a worker to create it, or name the right one with --store or MOTET_STORE"
        )
    kind = file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreRefused(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold; put the store on a local disk"
        )


def file_system(folder: str, mounts: str = "/proc/mounts") -> str | None:
    """The type of the file system that holds the folder; None where the system does not tell."""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return None
    real = os.path.realpath(folder)
    best, kind = "", None
    for row in rows:
        point = row[1].replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, row[2]
    return kind


def create_schema(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables in an empty file, or check that they are ours. The caller holds the writers' lock.

    Raises:
        StoreRefused: the file holds something else, or another schema.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        script = resources.files("motet.store.sqlite").joinpath("schema.sql").read_text()
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} INSERT INTO schema VALUES ({SCHEMA_VERSION}); COMMIT;"
        )
        return
    check_schema(connection, path)


def check_schema(connection: sqlite3.Connection, path: str) -> None:
    """Raises StoreRefused: this program cannot use the file."""
    try:
        row = connection.execute("SELECT version FROM schema").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        row = None
    if row is None:
        raise StoreRefused(f"{path} is a database of something else; choose another path for the store")
    if row[0] != SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has schema {row[0]}, this program speaks schema {SCHEMA_VERSION}; use the Motet that made it"
        )


def findings(connection: sqlite3.Connection) -> list[str]:
    """What is wrong or risky with the file and with SQLite itself."""
    found: list[str] = []
    if sqlite3.sqlite_version_info < FIRST_SAFE_WAL:
        found.append(
            f"SQLite {sqlite3.sqlite_version} can corrupt a file when checkpoints race with writers (fixed in "
            f"{'.'.join(map(str, FIRST_SAFE_WAL))}); Motet takes turns by a lock, but let no other program write to the store"
        )
    for (text,) in connection.execute("PRAGMA integrity_check(20)"):
        if text != "ok":
            found.append(f"integrity: {text}")
    return found

"""Where a store may live: in an existing folder of a local disk. Whoever only reads creates nothing there."""

from __future__ import annotations

import os
import sqlite3

from motet.errors import StoreMissing, StoreRefused

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables came with it."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "glusterfs", "fuse.glusterfs",
     "lustre", "beegfs", "9p", "davfs", "fuse.s3fs", "fuse.rclone", "ncpfs", "ocfs2", "gfs2"}
)  # fmt: skip

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def check_program() -> None:
    """Raises StoreRefused: this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreRefused(
            f"this Python has SQLite {sqlite3.sqlite_version}, and Motet needs {oldest} or later; "
            "use a Python that brings its own, such as one from python.org or uv"
        )


def check_place(path: str, *, create: bool, mounts: str = "/proc/mounts") -> None:
    """Raises StoreMissing, StoreRefused: the file or its folder is missing, or no place for a store."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise StoreMissing(f"there is no folder {folder} for the store; create it, or set MOTET_STORE to another place")
    if os.path.isdir(path):
        raise StoreRefused(f"{path} is a folder; name a file in it as the store, such as {path}/motet.db")
    if not create and not (os.path.exists(path) and os.path.getsize(path)):
        raise StoreMissing(
            f"there is no store at {path}; start a worker to create it, or name the right one with --store or "
            "MOTET_STORE"
        )
    kind = file_system(folder, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreRefused(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold; put the store on a "
            "local disk"
        )


def file_system(folder: str, mounts: str = "/proc/mounts") -> str | None:
    """The type of the file system that holds the folder; None where the system does not tell."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split() for line in file]
    except OSError:
        return None
    real = os.path.realpath(folder)
    best, kind = "", None
    for row in rows:
        if len(row) < 3:
            continue
        point = _unescaped(row[1])
        # A later mount on the same point lies on top of an earlier one.
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, row[2]
    return kind


def identity(path: str) -> tuple[int, int]:
    """Which file the path names now. Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _unescaped(point: str) -> str:
    for escape, character in _ESCAPES.items():
        point = point.replace(escape, character)
    return point

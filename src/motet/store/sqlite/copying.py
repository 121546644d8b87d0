"""A consistent copy of the store while others write to it."""

from __future__ import annotations

import os
import sqlite3

from motet.errors import StoreRefused
from motet.store.protocol import Progress
from motet.store.sqlite.connection import connect, unavailable

PAGES_PER_STEP = 2_048


def copy(source: str, target: str, progress: Progress | None) -> None:
    """Copy as of now, durably; the target appears when it is whole.

    Raises:
        StoreRefused: the target exists, or cannot be made.
        StoreUnavailable: the store does not answer, or the disk is full; nothing is left behind.
    """
    refused = StoreRefused(f"{target} exists; a backup never overwrites, choose another name")
    if os.path.lexists(target):
        raise refused
    part = f"{target}.part-{os.getpid()}"
    try:
        _fill(source, part, progress)
        _appear(part, target)
    except FileExistsError:
        raise refused from None
    except (sqlite3.Error, OSError) as error:
        raise unavailable(target, error) from error
    finally:
        if os.path.exists(part):
            os.unlink(part)


def _fill(source: str, part: str, progress: Progress | None) -> None:
    here = connect(source, readonly=True)
    try:
        there = sqlite3.connect(part, isolation_level=None)
        try:
            # Inside a read transaction the copy is of one moment, and does not begin anew at each commit of others.
            here.execute("BEGIN")
            here.execute("SELECT count(*) FROM schema").fetchone()

            def tell(_status: int, remaining: int, total: int) -> None:
                if progress is not None:
                    progress(total - remaining, total)

            here.backup(there, pages=PAGES_PER_STEP, progress=tell)
        finally:
            there.close()
    finally:
        here.close()


def _appear(part: str, target: str) -> None:
    _sync(part)
    try:
        os.link(part, target)  # unlike a rename, it never overwrites
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.rename(part, target)
    if os.name == "posix":
        _sync(os.path.dirname(os.path.abspath(target)))


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

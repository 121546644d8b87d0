"""One writer at a time, among all processes: an flock on a file beside the database.

SQLite's own busy handler polls: beside four busy writers a fifth waited seconds. And checkpoints that are not
serialised with writers can corrupt the file in SQLite before 3.51.3 (the WAL-reset bug). The kernel's queue
of an flock solves both. The lock vanishes with its process, however that ends.

Invariants: who holds the lock holds it on the file that has the name now, should somebody have removed it meanwhile;
a forked child lets go of it at once, or the lock of a killed parent would live on in the child.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from types import TracebackType
from typing import Self


class FileLock:
    """Held in a `with` block; used by one thread. The file is made when the lock is first taken."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        _all.add(self)

    def __enter__(self) -> Self:
        """Raises OSError: the file cannot be made, or its file system knows no locks."""
        while True:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._is_current(self._fd):
                return self
            self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _is_current(self, fd: int) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        held = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


_all: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lock in _all:
        lock.close()


os.register_at_fork(after_in_child=_let_go_in_child)

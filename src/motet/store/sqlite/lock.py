"""One writer at a time, among all processes: an flock on a file beside the database.

SQLite's own busy handler polls: beside four busy writers a fifth waited seconds. And checkpoints that are not
serialised with writers can corrupt the file in SQLite before 3.51.3 (the WAL-reset bug). The kernel's queue
of an flock solves both. The lock vanishes with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType


class FileLock:
    """Held in a `with` block; used by one thread."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> FileLock:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)

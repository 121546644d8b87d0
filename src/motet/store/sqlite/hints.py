"""Hearing that somebody writes to the file: Linux's inotify on the write-ahead log, a short poll elsewhere.

A hint is not news: the log grows a moment before its transaction counts, and strangers write too. So after each hint
whoever waits looks at once, then at growing intervals, and now and then without any hint.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from typing import Any

FIRST_LOOK_SECONDS = 0.001
QUIET_SECONDS = 0.1  # with inotify: in case that the file system does not tell
POLL_SECONDS = 0.01  # without

_IN_MODIFY = 0x2
_READ_BYTES = 4096


class Hints:
    """Lives on one event loop; `path` is the file of the log."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()
        self._pause = FIRST_LOOK_SECONDS
        self._fd: int | None = _inotify()
        self._watches = False
        if self._fd is not None:
            self._loop.add_reader(self._fd, self._hear)

    async def wait(self) -> bool:
        """Return when it is worth looking; whether somebody has written for certain, which a hint never tells."""
        quiet = QUIET_SECONDS if self._watching() else POLL_SECONDS
        pause = min(self._pause, quiet)
        self._pause = pause * 2
        try:
            async with asyncio.timeout(pause):
                await self._heard.wait()
        except TimeoutError:
            return False
        self._heard.clear()
        self._pause = FIRST_LOOK_SECONDS
        return False

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _watching(self) -> bool:
        """Whether we are told of writes. The log may come later than we do."""
        if self._fd is not None and not self._watches:
            self._watches = _libc.inotify_add_watch(self._fd, os.fsencode(self._path), _IN_MODIFY) >= 0
        return self._watches

    def _hear(self) -> None:
        assert self._fd is not None
        try:
            while len(os.read(self._fd, _READ_BYTES)) == _READ_BYTES:
                pass
        except BlockingIOError:
            return
        except OSError:
            self.close()
            self._watches = False
        self._heard.set()


def _load() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        return library if hasattr(library, "inotify_init1") else None
    except OSError:
        return None


_libc = _load()


def _inotify() -> int | None:
    """A descriptor; None where there is no inotify, or where this user has all that he may have."""
    if _libc is None:
        return None
    fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    return fd if fd >= 0 else None

"""A disk of a few megabytes for a store: one that can be filled to its last page, and freed again."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK = bytes(64 * 1024)


class SmallDisk:
    """A tmpfs, mounted at `folder` as long as the context lasts; what is on it ends with it."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        self._mebibytes = mebibytes
        self._filler = folder / "filler"

    def __enter__(self) -> Self:
        """Raises OSError: it cannot be mounted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._mebibytes}m", "tmpfs", str(self.folder)]
        mounting = subprocess.run(command, check=False, capture_output=True, text=True)
        if mounting.returncode:
            raise OSError(f"no disk at {self.folder}: {mounting.stderr.strip()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Lazily: a process that is still dying may have a file open.
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self) -> None:
        """Take all that is free. Files that are there keep their pages and can be overwritten, not extended.

        Again, it takes what has become free since.
        """
        filler = os.open(self._filler, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            while True:
                os.write(filler, BLOCK)  # the last that fits is cut off at the last page
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(filler)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)

    @staticmethod
    def available() -> str | None:
        """None, or why there is none: tried, since permission to mount depends on more than the user."""
        if sys.platform != "linux" or not (shutil.which("mount") and shutil.which("umount")):
            return "mounting a tmpfs needs Linux, mount and umount"
        with tempfile.TemporaryDirectory() as folder:
            try:
                with SmallDisk(Path(folder), 1):
                    return None
            except OSError as error:
                return f"{error} (mounting needs root)"

"""A process that is none of ours holds the store's file: a backup, somebody's sqlite3 shell, a virus scanner.

It knows nothing but the standard library's sqlite3: `python stranger.py FILE SECONDS`, which ends early when its
standard input is closed, so that no lock outlives a test that was killed.
"""

from __future__ import annotations

import select
import sqlite3
import subprocess
import sys
from pathlib import Path

HELD = "held"
TRIES = 60  # of a second each


class Stranger:
    """Holds the file's write lock, for one stretch of time after another."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._process: subprocess.Popen[str] | None = None

    def hold(self, seconds: float) -> None:
        """Return as soon as it HAS the lock; it lets go after so long. An earlier hold is waited for.

        Raises:
            RuntimeError: it did not get the lock within a minute, or there is no such file.
        """
        self.wait()
        command = [sys.executable, "-I", __file__, str(self._store), str(seconds)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != HELD:
            self.close()
            raise RuntimeError(f"the stranger does not hold {self._store}: {said or 'it has died'}")

    def wait(self) -> None:
        """Until it has let go."""
        if self._process is not None:
            self._process.wait()
            self.close()

    def close(self) -> None:
        """It lets go now, and its process has ended."""
        if self._process is not None:
            with self._process:  # closes its standard input and waits
                pass
            self._process = None


def main(store: str, seconds: str) -> None:
    # Read and write, but never create: a stranger finds files.
    connection = sqlite3.connect(f"{Path(store).absolute().as_uri()}?mode=rw", uri=True, timeout=1)
    connection.isolation_level = None
    for attempt in range(1, TRIES + 1):
        try:
            connection.execute("BEGIN EXCLUSIVE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == TRIES:
                raise
    print(HELD, flush=True)
    select.select([sys.stdin], [], [], float(seconds))
    connection.execute("ROLLBACK")
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except sqlite3.Error as reason:
        print(reason, flush=True)
        sys.exit(1)

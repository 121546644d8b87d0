"""Is anybody buried too early, or writes when buried? Seen from outside, by reading the workers' rows again and again.

Only whose counter has stood still for a full lease may be buried, unless the process is gone. What is read here comes
in grains: a counter moved at some time between two looks. So the earliest moment counts, and whoever is named here was
buried too early for certain; one who was buried just a little too early may go unnamed. And who is buried stays so:
each batch moves its worker's counter, so a counter that moves after the burial is a batch that was to be refused.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

LOOKS_APART_SECONDS = 0.02


class Seen(NamedTuple):
    """A worker's row, and the last look before its counter was what it is."""

    counter: int
    before: float
    buried: bool


class Burials:
    """Watches the store's workers until it is cancelled; `wrong` tells what was not as promised."""

    def __init__(self, store: Path, lease_seconds: float) -> None:
        self.wrong: list[str] = []
        self._store = store
        self._lease = lease_seconds
        self._seen: dict[int, Seen] = {}
        self._last: float | None = None

    async def watch(self) -> None:
        reading = sqlite3.connect(f"file:{self._store}?mode=ro", uri=True, timeout=1)
        try:
            while True:
                began = time.monotonic()
                try:
                    rows = reading.execute("SELECT id, pid, batch + beats, buried FROM worker").fetchall()
                except sqlite3.OperationalError:
                    rows = []  # the store is away for the moment
                if rows:
                    self.look(rows, began, time.monotonic())
                await asyncio.sleep(LOOKS_APART_SECONDS)  # tidy: between two looks
        finally:
            reading.close()

    def look(self, rows: list[tuple[int, int, int, int]], began: float, now: float) -> None:
        """At these rows (id, pid, counter, whether it is buried), which were read between two times."""
        for id, pid, counter, buried in rows:
            was = self._seen.get(id)
            if was is not None and was.counter == counter:
                before = was.before
            else:
                before = self._last if self._last is not None else began - self._lease
                if was is not None and was.buried:
                    self.wrong.append(f"worker {id} (process {pid}) has committed a batch after it was buried")
            if buried and not (was is not None and was.buried) and now - before < self._lease and _is_alive(pid):
                self.wrong.append(
                    f"worker {id} (process {pid}) was buried although it lives and its counter had moved "
                    f"{now - before:.2f} s before at the earliest; the lease is {self._lease} s"
                )
            self._seen[id] = Seen(counter, before, bool(buried))
        self._last = began


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")

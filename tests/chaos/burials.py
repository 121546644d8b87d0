"""Is anybody buried too early, or writes when buried? Seen from outside, by reading the workers' rows again and again.

Only whose counter has stood still for a full lease may be buried, unless the process is gone. What is read here comes
in grains: a counter moved at some time between two looks. So the earliest moment counts, and whoever is named here was
buried too early for certain; one who was buried just a little too early may go unnamed. And who is buried stays so:
each batch moves its worker's counter, so a counter that moves after the burial is a batch that was to be refused.

A row ends also when its worker resigns, be it that it could not begin (the disk was full, say): then nobody has buried
it, and the log has no event of a worker that was lost.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos.asking import Away, Base, Row

LOOKS_APART_SECONDS = 0.02


class Seen(NamedTuple):
    """A worker's row, and the last look before its counter was what it is."""

    counter: int
    before: float
    buried: bool


class Burials:
    """Watches the store's workers until it is cancelled; `wrong` tells what was not as promised.

    Args:
        logs: the folder in which workers say in files what they do, and why; none if nobody does.
    """

    def __init__(self, base: Base, lease_seconds: float, logs: Path | None = None) -> None:
        self.wrong: list[str] = []
        self.resigned = 0
        self._base = base
        self._logs = logs
        self._named: set[int] = set()
        self._lease = lease_seconds
        self._seen: dict[int, Seen] = {}
        self._last: float | None = None

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            try:
                rows = self._base.ask("SELECT id, pid, batch + beats, buried FROM worker")
                if rows:
                    self.look(rows, began, time.monotonic(), self._is_lost)
            except Away:
                pass  # for the moment
            await asyncio.sleep(LOOKS_APART_SECONDS)  # tidy: between two looks

    def look(
        self, rows: Sequence[Row], began: float, now: float, lost: Callable[[int], bool]
    ) -> None:  # fmt: skip
        """At these rows (id, pid, counter, whether it is buried), which were read between two times.

        Args:
            lost: whether the log tells that this worker was lost, which is written with its burial.
        """
        for id, pid, counter, buried in rows:
            was = self._seen.get(id)
            if was is not None and was.counter == counter:
                before = was.before
            else:
                before = self._last if self._last is not None else began - self._lease
                if was is not None and was.buried:
                    self.wrong.append(f"worker {id} (process {pid}) has committed a batch after it was buried")
                    self._named.add(id)
            if buried and not (was is not None and was.buried) and now - before < self._lease and _is_alive(pid):
                if lost(id):
                    self.wrong.append(
                        f"worker {id} (process {pid}) was buried although it lives and its counter had moved "
                        f"{now - before:.2f} s before at the earliest; the lease is {self._lease} s"
                    )
                    self._named.add(id)
                else:
                    self.resigned += 1
            self._seen[id] = Seen(counter, before, bool(buried))
        self._last = began

    def evidence(self) -> list[str]:
        """What the workers' logs have to say of those that are named in `wrong`."""
        logs = sorted(self._logs.glob("worker-*.log")) if self._logs is not None else []
        about = re.compile(rf"\bworker (?:\S+ \()?({'|'.join(map(str, sorted(self._named)))})\b")
        return [
            f"{log.name}: {line}"
            for log in logs
            if self._named
            for line in log.read_text(errors="replace").splitlines()
            if about.search(line)
        ]

    def _is_lost(self, worker: int) -> bool:
        told = self._base.ask("SELECT data FROM event WHERE type = 'motet.worker.lost'")
        return any(json.loads(data)["worker"] == worker for (data,) in told)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")

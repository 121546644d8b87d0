"""What a process and its threads have used, as Linux tells it; None where the system does not."""

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

MB = 1_000_000


class ThreadUse(NamedTuple):
    """Seconds since the thread began.

    Args:
        busy: on a core.
        queued: able to run, but another thread or program had the core.
    """

    busy: float
    queued: float


def memory(pid: int | str = "self") -> tuple[float, float] | None:
    """(now, peak) resident memory of a process in MB (10^6 bytes).

    Read from /proc: `getrusage` of a child may tell its parent's peak.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    now, peak = (int(fields[name].split()[0]) * 1024 / MB for name in ("VmRSS", "VmHWM"))
    return now, peak


def threads() -> dict[str, ThreadUse]:
    """What each thread of this process has used, by its name."""
    found: dict[str, ThreadUse] = {}
    for thread in threading.enumerate():
        try:
            busy, queued, _ = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
        except (OSError, ValueError):
            continue
        found[thread.name] = ThreadUse(int(busy) / 1e9, int(queued) / 1e9)
    return found


class Stopwatch:
    """Wall clock, processor and threads over a stretch of time."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        self._threads = threads()

    def read(self) -> dict[str, object]:
        """Shares of one core since the beginning."""
        wall = time.perf_counter() - self._wall
        used = {
            name: {
                "busy": (use.busy - self._threads.get(name, ThreadUse(0, 0)).busy) / wall,
                "queued": (use.queued - self._threads.get(name, ThreadUse(0, 0)).queued) / wall,
            }
            for name, use in threads().items()
        }
        return {"seconds": wall, "cores": (time.process_time() - self._cpu) / wall, "threads": used}


def load() -> float:
    """The average number of running programs over the last minute."""
    return os.getloadavg()[0]

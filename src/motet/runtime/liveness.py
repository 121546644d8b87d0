"""Is a worker dead? By what the operating system knows, or by watching its counter; never by a clock.

    registered ──counter moves with each batch, and by heartbeat──> alive
        │
        ├── its process is gone for certain (same machine, same pid namespace) ───────────> buried at once
        ├── the machine has been started again since ─────────────────────────────────────> buried at once
        └── its counter stood still for a full lease of the watcher's own monotonic time ─> buried by
                                                                          compare-and-set on the counter

Leases by time would bury everybody after an outage of the store, and at a jump of the clock. An outage is also when
nobody can write while all can read, as with a stranger's lock: so only who moves its own counter watches others'.
And a system that does not answer (no file handle left, no memory) has not said that a process is gone.
"""

from __future__ import annotations

import os
import secrets
import socket
from importlib import metadata
from typing import Final

from motet.model.clock import Clock
from motet.store.protocol import WorkerInfo, WorkerRow

UNKNOWN: Final = 0
"""In the place of the time at which a process began."""


def describe_self(fingerprint: str) -> WorkerInfo:
    """This process, as it registers: a fresh identity each time, never a host name or a default."""
    pid = os.getpid()
    return WorkerInfo(
        identity=secrets.token_hex(16),
        name=f"{socket.gethostname()}:{pid}",
        host=_host(),
        pid=pid,
        pid_started=_started(pid),
        program=f"motet {metadata.version('motet')}",
        fingerprint=fingerprint,
    )


def is_dead(worker: WorkerRow, here: str | None = None, *, shared: bool = False) -> bool:
    """Whether the operating system knows that the worker's process is gone; False where it does not tell.

    Args:
        shared: workers of several machines use the store.
    """
    boot, _, space = (here or _host()).partition("/")
    its_boot, _, its_space = worker.host.partition("/")
    if not boot or not its_boot:
        return False
    same_name = worker.name.partition(":")[0] == socket.gethostname()
    if boot != its_boot:
        # Of a store on a local disk all workers were here, so another boot is an earlier one of this machine. Of one
        # that machines share, a machine or container of the same name may well be another one, and live.
        return same_name and not shared
    if shared and not same_name:
        return False  # of machines that were copied while they ran, several have the same boot
    if space != its_space:
        return False
    try:
        started = _started(worker.pid)
    except ProcessLookupError:
        return True
    return UNKNOWN not in (started, worker.pid_started) and started != worker.pid_started


LOOKS_APART_SECONDS = 2.0


class Watch:
    """What one worker has seen of the others' counters."""

    def __init__(self, clock: Clock, lease_seconds: float) -> None:
        self._clock = clock
        self._lease = lease_seconds
        self._seen: dict[int, tuple[int, float]] = {}
        self._looked = self._wrote = clock.monotonic()
        self._own: tuple[int, int] | None = None

    def still(self, workers: list[WorkerRow], own: WorkerRow | None) -> list[WorkerRow]:
        """Those whose counter has not moved for a full lease, watched all along.

        Args:
            own: the row of who watches; None if it has none.
        """
        now = self._clock.monotonic()
        if own is not None and (own.id, own.counter) != self._own:
            self._own, self._wrote = (own.id, own.counter), now
        elif now - self._wrote > self._lease / 2:
            self._seen.clear()  # our own counter stands still as well: perhaps nobody can write
        if now - self._looked > max(self._lease / 2, LOOKS_APART_SECONDS):
            self._seen.clear()  # who did not look was perhaps stopped, and the others with it
        self._looked = now
        seen: dict[int, tuple[int, float]] = {}
        dead: list[WorkerRow] = []
        for worker in workers:
            counter, since = self._seen.get(worker.id, (-1, now))
            if counter != worker.counter:
                since = now
            seen[worker.id] = (worker.counter, since)
            if now - since >= self._lease:
                dead.append(worker)
        self._seen = seen
        return dead

    def forget(self) -> None:
        """The store was away: what was seen before proves nothing."""
        self._seen.clear()


def _host() -> str:
    """This boot of this machine, and the pid namespace in it; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> int:
    """When the process began, in ticks since boot; UNKNOWN if the system does not tell.

    Raises:
        ProcessLookupError: there is no such process, or only its remains.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"there is no process {pid}") from None
    except OSError:
        return UNKNOWN
    if fields and fields[0] in ("Z", "X"):
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19]) if len(fields) > 19 else UNKNOWN
